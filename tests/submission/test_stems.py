"""Submissions of the first challenge: every problem is reported, whatever is done to the eight stems of a pair."""

import json
import os
import shutil
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from submission.damage import edit_manifest, problems
from support import SONG_FRAMES, SONGS, Outcome, RunCli, TinySongs

from harness.challenge import CAD1, EARS, STEMS
from harness.enhancement import amplify_ear
from harness.errors import SubmissionError
from harness.music.layout import load
from harness.submission.flac import encode
from harness.submission.manifest import MANIFEST
from harness.submission.protocols import form_of
from harness.submission.stems import processed, read_scale, stem_files, to_stem_format

FOLDER = f"V1/{SONGS[0]}"
STEM = CAD1.stem_name(SONGS[0], "V1", "left_vocals")
SCALE = CAD1.scale_name(SONGS[0], "V1", "left_vocals")
REMIX = CAD1.remix_name(SONGS[0], "V1")
NUMBER = "expected one positive number, such as 0.75"


@pytest.fixture
def validate(run_cli: RunCli, tiny_songs: TinySongs) -> Callable[..., Outcome]:
    return lambda *args: run_cli("validate", *args, *tiny_songs.args)


def noise(rate: int, channels: int = 1, frames: int = SONG_FRAMES) -> bytes:
    count = frames * rate // CAD1.sample_rate
    return encode(np.random.default_rng(1).integers(-99, 99, (count, channels)).astype(np.int16), rate)


def scale(text: str | bytes) -> Callable[[Path], Any]:
    return lambda at: (at / SCALE).write_bytes(text if isinstance(text, bytes) else text.encode())


def linked(at: Path) -> None:
    (at / FOLDER).rename(at.parent / "elsewhere")
    (at / FOLDER).symlink_to(at.parent / "elsewhere")


Damage = tuple[Callable[[Path], Any], list[tuple[str, str]]]
MISSING = [(name, "missing") for name in CAD1.files(SONGS[0], "V1")]
PROBLEMS: dict[str, Damage] = {
    # what was done to a valid submission without a manifest: the problems, in the order of the report
    "no stem": (lambda at: (at / STEM).unlink(), [(STEM, "missing")]),
    "no scale factor": (lambda at: (at / SCALE).unlink(), [(SCALE, "missing")]),
    "no remix": (lambda at: (at / REMIX).unlink(), [(REMIX, "missing")]),
    "stereo": (lambda at: (at / STEM).write_bytes(noise(24000, 2)), [(STEM, "channels is 2, expected 1")]),
    "44.1 kHz": (lambda at: (at / STEM).write_bytes(noise(44100)), [(STEM, "sample rate is 44100, expected 24000")]),
    "remix at 24 kHz": (
        lambda at: (at / REMIX).write_bytes(noise(24000, 2)),
        [(REMIX, "sample rate is 24000, expected 32000")],
    ),
    "remix is mono": (lambda at: (at / REMIX).write_bytes(noise(32000)), [(REMIX, "channels is 1, expected 2")]),
    "remix is silent": (
        lambda at: (at / REMIX).write_bytes(encode(np.zeros((19200, 2), np.int16))),
        [(REMIX, "is silent: every sample is zero")],
    ),
    "too short": (
        lambda at: (at / STEM).write_bytes(noise(24000, frames=SONG_FRAMES // 2)),
        [(STEM, "has 7200 samples, expected 14400 to 14520")],
    ),
    "too long": (
        lambda at: (at / STEM).write_bytes(noise(24000, frames=2 * SONG_FRAMES)),
        [(STEM, "has 28800 samples, expected 14400 to 14520")],
    ),
    "a WAV inside": (
        lambda at: soundfile.write(at / STEM, np.zeros(14400), 24000, format="WAV", subtype="PCM_16"),
        [(STEM, "format is WAV, expected FLAC")],
    ),
    "24 bit": (
        lambda at: soundfile.write(at / STEM, np.zeros(14400), 24000, format="FLAC", subtype="PCM_24"),
        [(STEM, "bits is PCM_24, expected PCM_16")],
    ),
    "cut": (lambda at: os.truncate(at / STEM, 600), [(STEM, "damaged or not FLAC inside")]),
    "huge": (lambda at: os.truncate(at / STEM, 2**31), [(STEM, "has 2147483648 bytes, at most")]),
    "scale factor huge": (lambda at: os.truncate(at / SCALE, 2**31), [(SCALE, "has 2147483648 bytes, at most 64")]),
    "scale factor a link": (
        lambda at: (at / SCALE).symlink_to((at / SCALE).rename(at.parent / "scale.txt")),
        [(SCALE, "is a link: submit the file itself")],
    ),
    "scale factor a pipe": (
        lambda at: ((at / SCALE).unlink(), os.mkfifo(at / SCALE)),
        [(SCALE, "is not a regular file")],
    ),
    "scale factor a folder": (
        lambda at: ((at / SCALE).unlink(), (at / SCALE).mkdir()),
        [(SCALE, "is not a regular file")],
    ),
    "empty": (scale(""), [(SCALE, f"holds '', {NUMBER}")]),
    "zero": (scale("0.0"), [(SCALE, f"holds '0.0', {NUMBER}, 1.0 for a silent stem")]),
    "so small that it is zero": (scale("1e-400"), [(SCALE, NUMBER)]),
    "negative": (scale("-0.5"), [(SCALE, f"holds '-0.5', {NUMBER}")]),
    "not a number": (scale("nan"), [(SCALE, f"holds 'nan', {NUMBER}")]),
    "infinite": (scale("inf"), [(SCALE, NUMBER)]),
    "so large that it is infinite": (scale("1e400"), [(SCALE, NUMBER)]),
    "too large": (scale("1e31"), [(SCALE, NUMBER)]),
    "as Python writes it": (scale("1_0"), [(SCALE, NUMBER)]),
    "hexadecimal": (scale("0x1p-1"), [(SCALE, NUMBER)]),
    "two numbers": (scale("0.5 0.5"), [(SCALE, NUMBER)]),
    "a comma": (scale("0,5"), [(SCALE, "holds '0,5', expected")]),
    "other digits": (scale("١.٥"), [(SCALE, NUMBER)]),
    "not UTF-8": (scale(b"\xff\xfe1\x00"), [(SCALE, NUMBER)]),
    "control characters": (scale("0.5\x1b[31m"), [(SCALE, NUMBER)]),
    "another listener": (
        lambda at: shutil.copytree(at / "V1", at / "V9"),
        [("V9", "is a folder of no listener and song of the evaluation set: remove it")],
    ),
    "another song": (lambda at: (at / "V1/Else").mkdir(), [("V1/Else", "is a folder of no listener and song")]),
    "a deep tree": (
        lambda at: (at / FOLDER / "/".join("abcdefghij" * 9)).mkdir(parents=True),
        [(f"{FOLDER}/a", "is a folder of no listener and song")],
    ),
    "a case that differs": (
        lambda at: shutil.copytree(at / "V1", at / "v1"),
        [("v1", "is a folder of no listener and song")],
    ),
    "a ninth stem": (
        lambda at: shutil.copy(at / STEM, at / FOLDER / f"V1_{SONGS[0]}_left_piano.flac"),
        [(f"{FOLDER}/V1_{SONGS[0]}_left_piano.flac", "is not named after a pair: <listener>/<song>/")],
    ),
    "a scale factor of the remix": (
        lambda at: (at / REMIX).with_suffix(".txt").write_text("1.0"),
        [(REMIX.replace(".flac", ".txt"), "is not named after a pair")],
    ),
    "a stem at the top": (lambda at: shutil.copy(at / STEM, at / "left_vocals.flac"), [("left_vocals.flac", "is not")]),
    "hidden": (lambda at: (at / FOLDER / ".DS_Store").touch(), [(f"{FOLDER}/.DS_Store", "does not belong")]),
    "left over": (
        lambda at: (at / FOLDER / ".partial-harness-12345678").touch(),
        [(f"{FOLDER}/.partial-harness-12345678", "is left over from an interrupted run")],
    ),
    "the folder is a link": (linked, [(FOLDER, "is a link, and does not belong here"), *MISSING]),
    "the folder is a pipe": (
        lambda at: (shutil.rmtree(at / FOLDER), os.mkfifo(at / FOLDER)),
        [(FOLDER, "does not belong to a submission"), *MISSING],
    ),
}


@pytest.mark.usefixtures("must_not_hang")
@pytest.mark.parametrize("case", PROBLEMS)
def test_every_problem_is_reported(case: str, stems: Path, validate: Callable[..., Outcome]) -> None:
    (stems / MANIFEST).unlink()
    damage, expected = PROBLEMS[case]
    damage(stems)
    outcome = validate(stems, "--json")
    assert outcome.code == 1
    found = problems(outcome)
    assert [name for name, _ in found] == [name for name, _ in expected]
    for (_, message), (_, part) in zip(found, expected, strict=True):
        assert part in message
        assert message.isprintable()


@pytest.mark.parametrize("text", ["0.75", " 0.75\n", "1", "+1.5", "1e-3", ".5", "5.", "5.068178176879883", "1.E2\r\n"])
def test_numbers_that_may_be_a_scale_factor(text: str, tmp_path: Path) -> None:
    path = tmp_path / "scale.txt"
    path.write_bytes(text.encode())
    assert read_scale(path)[0] == float(text)


def test_a_silent_stem_may_be_submitted(stems: Path, validate: Callable[..., Outcome]) -> None:
    """A system may well find no vocals."""
    (stems / MANIFEST).unlink()
    (stems / STEM).write_bytes(encode(np.zeros(14400, np.int16), 24000))
    (stems / SCALE).write_text("1.0")
    assert validate(stems).code == 0


def test_problems_with_the_manifest(stems: Path, validate: Callable[..., Outcome]) -> None:
    edit_manifest(stems, lambda content: content["files"].pop(SCALE))
    edit_manifest(stems, lambda content: content["files"][STEM].update(sha256="0" * 64))
    edit_manifest(stems, lambda content: content["files"].update({"../../etc/passwd": {"sha256": "0" * 64}}))
    found = problems(validate(stems, "--json"))
    assert [name for name, _ in found] == [SCALE, "../../etc/passwd", STEM]
    for (_, message), part in zip(found, ["not listed in", "but not there", "has SHA-256 "], strict=True):
        assert part in message


def test_what_is_for_another_protocol_is_refused(stems: Path, validate: Callable[..., Outcome]) -> None:
    assert json.loads((stems / MANIFEST).read_text())["evaluation_set"]["protocol"] == "cad1"

    def other(content: dict[str, Any]) -> None:
        del content["evaluation_set"]["protocol"]
        content["evaluation_set"]["mixtures_sha256"] = "0" * 64

    edit_manifest(stems, other)
    [(name, message)] = problems(validate(stems, "--json"))
    assert name == MANIFEST
    assert "is for the evaluation set songs, split valid (000000000000), not for songs" in message


def test_a_remix_of_the_other_challenge_may_not_be_for_this_one(
    submission: Path, run_cli: RunCli, tiny_set: Any
) -> None:
    """Nor does it say its protocol, as manifests never did; one that says another is refused without any hash."""
    content = json.loads((submission / MANIFEST).read_text())
    assert "protocol" not in content["evaluation_set"]
    content["evaluation_set"].update(protocol="cad1", mixtures_sha256=None)
    (submission / MANIFEST).write_text(json.dumps(content))
    [(name, message)] = problems(run_cli("validate", submission, *tiny_set.args, "--json"))
    assert (name, message.partition(",")[0]) == (MANIFEST, "is for the evaluation set tiny")


def test_what_people_see(stems: Path, validate: Callable[..., Outcome]) -> None:
    outcome = validate(stems)
    assert (outcome.code, outcome.stdout) == (0, f"{stems}: valid, 68 files\n")
    (verdict,) = validate(stems, "--json").json
    assert (verdict["remixes"], verdict["files"]) == (4, 68)
    shutil.rmtree(stems / "V2")
    heading, line = validate(stems).stdout.splitlines()
    assert heading == f"{stems}: not valid, 34 problems"
    assert line.startswith("  is listed in submission.json but not there: 34 files, e.g. V2/")


def test_pairs_that_are_shared_are_said_in_pairs(stems: Path, tmp_path: Path, validate: Callable[..., Outcome]) -> None:
    """Other words in one scale factor make another pair; a remix is not scored, so another one makes none."""
    other = shutil.copytree(stems, tmp_path / "other")
    (other / MANIFEST).unlink()
    (other / REMIX).write_bytes(noise(32000, 2))
    assert f"{stems} and {other} share 4 of 4 pairs" in validate(stems, other).stdout
    (other / SCALE).write_text("0.5")
    assert f"{stems} and {other} share 3 of 4 pairs" in validate(stems, other).stdout


# Folders and archives


def in_folders(stems: Path, path: Path) -> Path:
    """As the challenge asks for it: `submission_<team>.zip` with all in `enhanced_signals/evaluation`."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(stems.rglob("*")):
            archive.write(file, f"enhanced_signals/evaluation/{file.relative_to(stems)}")
    return path


def test_the_official_archive(stems: Path, tmp_path: Path, validate: Callable[..., Outcome]) -> None:
    (stems / MANIFEST).unlink()
    packed = in_folders(stems, tmp_path / "submission_team.zip")
    assert validate(packed).stdout.splitlines()[0] == f"{packed}: valid, 68 files"
    (stems / STEM).unlink()
    (stems / "V1" / "notes.md").touch()
    found = problems(validate(in_folders(stems, packed), "--json"))
    assert found == [
        ("V1/notes.md", "does not belong to a submission: remove it"),
        (STEM, "missing"),
    ]


def test_the_same_unpacked(stems: Path, tmp_path: Path, validate: Callable[..., Outcome]) -> None:
    (stems / MANIFEST).unlink()
    inner = tmp_path / "team" / "enhanced_signals" / "evaluation"
    shutil.copytree(stems, inner)
    for named in (tmp_path / "team", inner.parent, inner):
        assert validate(named).stdout.splitlines()[0] == f"{inner}: valid, 68 files"
    # Next to another submission it is one of two.
    shutil.copytree(stems, tmp_path / "all" / "one")
    shutil.copytree(tmp_path / "team", tmp_path / "all" / "two")
    said = validate(tmp_path / "all").stdout
    assert f"{tmp_path}/all/two/enhanced_signals/evaluation: valid" in said
    assert "2 valid, 0 not" in said


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_archives_of_other_programs_spell_names_otherwise(
    form: Any, stems: Path, tmp_path: Path, validate: Callable[..., Outcome]
) -> None:
    """Info-ZIP writes UTF-8 and does not say so; macOS takes accents apart as well."""

    class Raw(zipfile.ZipInfo):
        def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802 - zipfile calls it so
            return self.filename.encode(), self.flag_bits & ~0x800

    path = tmp_path / "submission.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(file for file in stems.rglob("*") if file.is_file()):
            archive.writestr(Raw(unicodedata.normalize(form, str(file.relative_to(stems)))), file.read_bytes())
    assert not any(info.flag_bits & 0x800 for info in zipfile.ZipFile(path).infolist())
    assert validate(path).stdout == f"{path}: valid, 68 files\n"


def test_folders_with_accents_taken_apart_are_told_from_strange_ones(
    stems: Path, validate: Callable[..., Outcome]
) -> None:
    (stems / MANIFEST).unlink()
    other = unicodedata.normalize("NFD", SONGS[1])
    (stems / "V1" / SONGS[1]).rename(stems / "V1" / other)
    found = problems(validate(stems, "--json"))
    assert found[0][0] == f"V1/{other}"
    assert (
        found[0][1]
        == f"has its accents in another form of Unicode than {f'V1/{SONGS[1]}'!a}, as macOS writes them: rename it"
    )
    assert len(found) == 18


# Reading and writing


def test_stems_are_read_as_they_were_written(tiny_songs: TinySongs, tmp_path: Path) -> None:
    """The factor brings back the level; what 16 bit lose is all that differs."""
    import soxr

    pair = load(tiny_songs.root).pairs[1]
    true = pair.scene.read_stems()
    for name, (content, _) in stem_files(true, pair).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    submitted = form_of(CAD1).read(tmp_path, pair).signals
    assert list(submitted) == list(CAD1.signals)
    for name, signal in processed(true, pair.listener):
        expected = soxr.resample(signal, 44100, 24000, quality="HQ")
        assert np.abs(submitted[name] - expected).max() <= 1.002 * 2**-15 * np.abs(expected).max()
        assert submitted[name].dtype == np.float32


def test_a_stem_is_amplified_for_its_ear(tiny_songs: TinySongs) -> None:
    pair = load(tiny_songs.root).pairs[1]
    true = pair.scene.read_stems()
    found = dict(processed(true, pair.listener))
    assert set(found) == {f"{ear}_{stem}" for ear in EARS for stem in STEMS}
    for stem in STEMS:
        assert np.array_equal(found[f"left_{stem}"], amplify_ear(true[stem][:, 0], pair.listener.left))
        assert np.array_equal(found[f"right_{stem}"], amplify_ear(true[stem][:, 1], pair.listener.right))


def test_silence_stays_silence() -> None:
    samples, text = to_stem_format(np.zeros(44100))
    assert (samples.any(), text) == (False, "1.0")


def test_of_a_song_with_a_segment_only_that_is_submitted(tiny_songs: TinySongs, run_cli: RunCli, stems: Path) -> None:
    tiny_songs.cut(0.1, 0.55)
    outcome = run_cli("enhance", "--system", "oracle", *tiny_songs.args, "--output", "cut")
    assert outcome.code == 0, outcome.stderr
    name = Path("cut", STEM)
    assert soundfile.info(name).frames == 10800
    assert run_cli("validate", "cut", *tiny_songs.args).code == 0
    # Whole stems are not what is asked for: nothing says where in them the segment lies.
    (stems / MANIFEST).unlink()
    found = problems(run_cli("validate", stems, *tiny_songs.args, "--json"))
    assert len(found) == 4 * 9
    assert "samples, expected 10800 to 10920" in dict(found)[STEM]


def test_the_pair_of_a_missing_scale_factor_cannot_be_read(stems: Path, tiny_songs: TinySongs) -> None:
    (stems / SCALE).write_text("0,5")
    pair = load(tiny_songs.root).pairs[0]
    with pytest.raises(SubmissionError, match=r"left_vocals\.txt: holds '0,5'"):
        form_of(CAD1).read(stems, pair)
