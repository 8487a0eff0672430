"""What a single entry of a metadata file must be: gains, audiograms, scenes, music, positions, segments.

The bounds are those of `harness.music.metadata`, which loads evaluation sets; here each thing that is wrong is said.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from harness.challenge import CAD1, STEMS
from harness.enhancement import MIN_SECONDS
from harness.files import SAFE_NAME, is_inner_path
from harness.music.evaluationset import MAX_MUSIC_SECONDS
from harness.music.metadata import HAAQI_FREQUENCIES, LEVELS_DB_HL
from harness.music.songs import is_too_long
from harness.sets.checking.documents import kind_of, shown_value, unknown_keys
from harness.sets.checking.findings import Place, quoted, shown_text

MAX_TEXT = 300
MAX_PATH = 1000
MAX_NAME = 100
"""Characters of names in general, of paths, and of what becomes part of a file's name."""
MAX_FREQUENCIES = 100

OFFICIAL_GAINS = (-10, -6, -3, 0, 3, 6, 10)
"""Of the challenge's 1105 gain sets, in dB."""

LEVELS = {"left": "audiogram_levels_l", "right": "audiogram_levels_r"}
ANGLES = {"left": "left_angle", "right": "right_angle"}


def is_record(place: Place, value: Any, what: str) -> bool:
    """Whether an entry is an object in brackets; a problem if not."""
    if isinstance(value, dict):
        return True
    place.problem(f"is {kind_of(value)}, expected is {what} in {{ }}")
    return False


def is_name(place: Place, name: str) -> bool:
    """Whether a scene's or a listener's identifier may become part of a file's name; a problem if not."""
    if len(name) <= MAX_NAME and SAFE_NAME.fullmatch(name):
        return True
    why = f"has {len(name):,} characters" if len(name) > MAX_NAME else "cannot be part of a file's name"
    place.problem(
        f"this name {why}: at most {MAX_NAME} letters of a to z, digits, _, . and - are possible, "
        "a letter or digit first: rename it wherever it stands"
    )
    return False


def is_text(place: Place, text: Any, longest: int = MAX_TEXT, may_be_empty: bool = False) -> bool:
    """Whether a value is a text of printable characters; a problem if not."""
    if not isinstance(text, str):
        place.problem(f"is {kind_of(text)}, expected is a text in quotation marks")
    elif not text and not may_be_empty:
        place.problem("is an empty text, expected is a name")
    elif len(text) > longest:
        place.problem(f"has {len(text):,} characters, at most {longest} are possible")
    elif not text.isprintable():
        strange = next(character for character in text if not character.isprintable())
        place.problem(f"holds a character that cannot be printed (U+{ord(strange):04X}): take it out")
    else:
        return True
    return False


def text_of(place: Place, record: dict[str, Any], key: str) -> str | None:
    """A text that an entry must have; None, and a problem, if it has none."""
    if key not in record:
        place.problem(f"{quoted(key)} is missing")
        return None
    return record[key] if is_text(place.at(key), record[key]) else None


def number(place: Place, value: Any, low: float, high: float, unit: str) -> float | None:
    """A number within bounds; None, and a problem, if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        hint = ", without quotation marks" if isinstance(value, str) else ""
        place.problem(f"is {kind_of(value)}, expected is a number of {unit} from {low:g} to {high:g}{hint}")
    elif not low <= value <= high:
        place.problem(f"is {shown_value(value)} {unit}, expected is {low:g} to {high:g} {unit}")
    else:
        return float(value)
    return None


def check_gains(place: Place, record: Any) -> bool:
    """Check a set of gains; returns whether all its gains are among the challenge's."""
    if not is_record(place, record, "one gain for each stem"):
        return True
    unknown_keys(record, list(STEMS), place, ignored=False)
    usual = True
    for stem in STEMS:
        if stem not in record:
            place.problem(f"no gain for the {stem}: all four stems are expected, 0 for one that is not changed")
            continue
        gain = number(place.at(stem), record[stem], -100, 100, "dB")
        usual = usual and (gain is None or gain in OFFICIAL_GAINS)
    return usual


def check_listener(place: Place, key: str, record: Any) -> None:
    """Check a listener's audiograms."""
    if not is_record(place, record, "a listener's audiograms"):
        return
    unknown_keys(record, ["name", "audiogram_cfs", *LEVELS.values()], place)
    if "name" not in record:
        place.remark('has no "name", which the official programs put into file names: give it that of the entry')
    elif record["name"] != key:
        place.problem(
            f'its "name" is {shown_value(record["name"])}, its entry {quoted(key)}: they must be the same, since the '
            "official programs name files by either"
        )
    frequencies = _frequencies(place, record)
    for ear, name in LEVELS.items():
        if name not in record:
            place.problem(f"{quoted(name)} is missing: the hearing levels of the {ear} ear in dB HL")
            continue
        levels = record[name]
        here = place.at(f"{ear} ear")
        if not isinstance(levels, list):
            here.problem(f"{quoted(name)} is {kind_of(levels)}, expected is a list of hearing levels in [ ]")
            continue
        if frequencies is not None and len(levels) != len(frequencies):
            here.problem(
                f"has {len(levels):,} hearing levels for {len(frequencies)} frequencies: one for each is expected"
            )
        for position, level in enumerate(levels[:MAX_FREQUENCIES]):
            of = None if frequencies is None or position >= len(frequencies) else frequencies[position]
            number(here.at(f"level {position + 1}" if of is None else f"{of:g} Hz"), level, *LEVELS_DB_HL, "dB HL")
        if frequencies is None and len(levels) > MAX_FREQUENCIES:
            here.problem(f"has {len(levels):,} hearing levels, at most {MAX_FREQUENCIES} are possible")


def _frequencies(place: Place, record: dict[str, Any]) -> list[float] | None:
    """The audiogram's frequencies; None if they are not good enough to speak of levels at them."""
    if "audiogram_cfs" not in record:
        place.problem('"audiogram_cfs" is missing: the frequencies in Hz at which hearing was measured')
        return None
    given = record["audiogram_cfs"]
    here = place.at("audiogram_cfs")
    if not isinstance(given, list):
        here.problem(f"is {kind_of(given)}, expected is a list of frequencies in [ ]")
        return None
    if len(given) > MAX_FREQUENCIES:
        here.problem(f"has {len(given):,} frequencies, at most {MAX_FREQUENCIES} are possible")
        return None
    found = [number(here, each, 1, 24000, "Hz") for each in given]
    frequencies = [each for each in found if each is not None]
    if len(frequencies) < len(found):
        return None
    if frequencies != sorted(set(frequencies)):
        here.problem("the frequencies must ascend, each once; keep the levels in the same order")
    missing = [str(frequency) for frequency in HAAQI_FREQUENCIES if frequency not in frequencies]
    if missing:
        here.problem(f"lacks {', '.join(missing)} Hz: NAL-R and HAAQI need these, and would guess a level in silence")
    return frequencies


@dataclass(frozen=True)
class SceneEntry:
    """A scene, as far as it is good: its music, gain and position; None for what is not, and for headphone form."""

    music: str | None
    gain: str | None
    position: str | None


def check_scene(place: Place, record: Any) -> SceneEntry | None:
    """Check a scene by itself; None if its form cannot be told."""
    if not is_record(place, record, "a scene"):
        return None
    unknown_keys(record, ["music", "gain", "head_loudspeaker_positions"], place)
    music, gain = text_of(place, record, "music"), text_of(place, record, "gain")
    position = record.get("head_loudspeaker_positions")
    if position is not None and not is_text(place.at("head_loudspeaker_positions"), position):
        return None
    return SceneEntry(music, gain, position)


@dataclass(frozen=True)
class Music:
    """An entry of music, as far as it is good.

    Attributes:
        track: its Track Name.
        split: its Split.
        inner: where its folder lies below that of all music: its Path, or its Split and its name.
    """

    track: str | None
    split: str | None
    inner: str | None


def check_music(place: Place, record: Any, name: str | None, below: str | None) -> Music | None:
    """Check an entry of music; None if nothing of it is good.

    Args:
        place: of the entry.
        record: the entry.
        name: of its folder, where it has no Path; None: its Track Name.
        below: the folder out of which its Path may not lead; None: the Path does not count.
    """
    if not is_record(place, record, "an entry of music"):
        return None
    unknown_keys(record, ["Track Name", "Split", "Path"], place)
    track = text_of(place, record, "Track Name")
    split: str | None = None
    if "Split" not in record:
        place.problem('"Split" is missing: the split that the music belongs to, such as "train"')
    elif is_text(place.at("Split"), record["Split"], may_be_empty=True):
        split = record["Split"]
    path = record.get("Path")
    good = path is None or is_text(place.at("Path"), path, MAX_PATH, may_be_empty=True)
    name = track if name is None else name
    if below is None or not good or split is None or name is None:
        return Music(track, split, None)
    inner = path or f"{split}/{name}"
    if not is_inner_path(inner):
        place.problem(f"its Path {quoted(inner)} leads out of {below}: it must be a folder in there, without ..")
        return Music(track, split, None)
    return Music(track, split, inner)


def check_song_name(place: Place, song: str, listeners: Iterable[str]) -> bool:
    """Whether a song's name can be that of its folder, and part of the files of the first challenge's submissions."""
    if song in (".", "..") or any(character in song for character in "/\\\0"):
        place.problem(f"Track Name {quoted(song)} cannot be the name of a folder: rename the song, / and \\ left out")
        return False
    if is_too_long(song, listeners):
        place.problem(f"Track Name {quoted(song)} is too long for the name of a file: shorten it")
        return False
    return True


def check_position(place: Place, record: Any) -> bool:
    """Check a head between two loudspeakers; returns whether its file names can be told."""
    if not is_record(place, record, "a head and two loudspeakers"):
        return False
    unknown_keys(record, ["subject", "mic", *ANGLES.values()], place)
    good = True
    for ear, key in ANGLES.items():
        if key not in record:
            place.problem(f"{quoted(key)} is missing: where the {ear} loudspeaker stands, in degrees")
            good = False
            continue
        angle = number(place.at(key), record[key], -180, 180, "degrees")
        if angle is None:
            good = False
        elif (angle > 0) if ear == "left" else (angle < 0):
            sign = "negative" if ear == "left" else "positive"
            place.at(key).problem(
                f"is {angle:g} degrees: the {ear} loudspeaker's must be {sign}; the official program drops the sign, "
                "and would put it on the other side"
            )
            good = False
    for key in ("subject", "mic"):
        if not isinstance(record.get(key), str):
            place.remark(f"{quoted(key)} is missing: harness set at-mic does not find its impulse responses without")
            good = False
    return good


def check_segment(place: Place, record: Any) -> tuple[int, int] | None:
    """Check the part of a song that is scored: the first sample at 44.1 kHz and the one after the last, if good."""
    if not is_record(place, record, "a song's segments"):
        return None
    if "objective_evaluation" not in record:
        place.problem('"objective_evaluation" is missing: the part that is scored')
        unknown_keys(record, ["objective_evaluation", "subjective_evaluation"], place)
        return None
    part, here = record["objective_evaluation"], place.at("objective_evaluation")
    if not is_record(here, part, "start and end in seconds"):
        return None
    bounds = []
    for key in ("start", "end"):
        if key not in part:
            here.problem(f"{quoted(key)} is missing, in seconds from the beginning of the song")
        else:
            bounds.append(number(here.at(key), part[key], 0, MAX_MUSIC_SECONDS, "seconds"))
    if len(bounds) < 2 or bounds[0] is None or bounds[1] is None:
        return None
    first, end = (int(seconds * CAD1.sample_rate) for seconds in bounds if seconds is not None)
    if first >= end:
        here.problem(f"ends at {bounds[1]:g} s, before it starts (at {bounds[0]:g} s)")
        return None
    if end - first < MIN_SECONDS * CAD1.sample_rate:
        here.problem(f"lasts {(end - first) / CAD1.sample_rate:.3f} s: at least {MIN_SECONDS} s are needed to score it")
        return None
    said = part.get("duration")
    if isinstance(said, int | float) and not math.isclose(said, bounds[1] - bounds[0], abs_tol=0.01):
        here.remark(f'its "duration" is {shown_value(said)} s, start and end are {bounds[1] - bounds[0]:g} s apart')
    return first, end


def differ_by_case(names: Iterable[str], place: Place, what: str) -> None:
    """Note names that are one on a disk that does not tell "a" from "A"."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            place.problem(
                f"the {what} {shown_text(other)} and {shown_text(name)} differ in capital letters only, and many disks "
                "do not tell them apart: rename one of them"
            )
