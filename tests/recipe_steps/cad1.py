"""The steps of the first challenge: what each makes, by the recipe and by us, and how far the two are apart."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from clarity.utils.flac_encoder import read_flac_signal
from clarity.utils.signal_processing import resample
from recipe_steps.official import (
    LISTENERS,
    NALR_AT_44,
    RATE,
    SCENES,
    STEMS_IN_ORDER,
    cad1_enhance,
    cad1_evaluate,
    differing,
    gap,
    theirs,
)

from harness.challenge import CAD1, EARS, STEMS
from harness.enhancement import Signal
from harness.haaqi import conformance_cad1
from harness.haaqi.evaluator import Score
from harness.haaqi.stems import reference_stems, score_stems, score_stems_fast
from harness.hearing import Listener
from harness.music.evaluationset import EvaluationSet, Pair
from harness.music.layout import load
from harness.submission.stems import StemsForm, processed, stem_files


def song_set(folder: Path) -> EvaluationSet:
    """An evaluation set of the first challenge: one song, two listeners."""
    scene = SCENES[0]
    music = folder / "set" / "audio" / "musdb18hq" / "train" / "Song"
    music.mkdir(parents=True)
    for name, signal in {"mixture": scene.mixture, **scene.stems}.items():
        soundfile.write(music / f"{name}.wav", signal, RATE, subtype="PCM_16")
    metadata = folder / "set" / "metadata"
    metadata.mkdir()
    (metadata / "musdb18.valid.json").write_text(json.dumps([{"Track Name": "Song", "Split": "valid"}]))
    listeners = {
        who.id: {
            "name": who.id,
            "audiogram_cfs": list(who.left.frequencies),
            "audiogram_levels_l": list(who.left.levels),
            "audiogram_levels_r": list(who.right.levels),
        }
        for who in LISTENERS
    }
    (metadata / "listeners.valid.json").write_text(json.dumps(listeners))
    return load(folder / "set")


def songs_and_listeners(folder: Path) -> float:
    loaded = song_set(folder)
    metadata = folder / "set" / "metadata"
    songs = [song["Track Name"] for song in json.loads((metadata / "musdb18.valid.json").read_text())]
    listeners = json.loads((metadata / "listeners.valid.json").read_text())
    return differing([pair.id for pair in loaded.pairs], cad1_evaluate.make_song_listener_list(songs, listeners))


def float32(signal: Signal) -> Signal:
    return signal.astype(np.float32)


def official_stems(listener: Listener) -> dict[str, Signal]:
    """The recipe's eight stems, amplified, of stems that a network in single precision returned."""
    sources = np.stack([float32(SCENES[0].stems[stem]).T for stem in STEMS_IN_ORDER])
    eight = cad1_enhance.map_to_dict(sources, list(STEMS_IN_ORDER))
    found = cad1_enhance.process_stems_for_listener(eight, NALR_AT_44, None, theirs(listener))
    return dict(found)


def eight_stems(_folder: Path) -> float:
    music = {stem: float32(signal) for stem, signal in SCENES[0].stems.items()}
    found = []
    for who in LISTENERS:
        ours, others = dict(processed(music, who)), official_stems(who)
        assert ours.keys() == others.keys()
        found += [gap(ours[name], others[name]) for name in ours]
    return max(found)


def written(folder: Path) -> tuple[Pair, Path, Path]:
    """Ours and the recipe's files of a pair."""
    pair = song_set(folder).pairs[1]
    made = stem_files({stem: float32(signal) for stem, signal in SCENES[0].stems.items()}, pair)
    for name, (content, _) in made.items():
        path = folder / "ours" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    others = folder / "theirs"
    (others / pair.remix_name).parent.mkdir(parents=True)
    eight = official_stems(pair.listener)
    for name, signal in eight.items():
        path = others / CAD1.stem_name(*pair.id, name)
        cad1_enhance.save_flac_signal(signal, path, RATE, 24000, do_scale_signal=True)
    both = cad1_enhance.remix_signal(eight)
    cad1_enhance.save_flac_signal(both, others / pair.remix_name, RATE, 32000, do_clip_signal=True, do_soft_clip=True)
    return pair, folder / "ours", others


def samples(folder: Path, which: Callable[[str], bool]) -> float:
    pair, ours, others = written(folder)
    names = [name for name in pair.files if which(name)]
    assert names
    found = []
    for name in names:
        one, other = (soundfile.read(root / name, dtype="int16") for root in (ours, others))
        assert one[1] == other[1]
        found.append(gap(one[0], other[0]))
    return max(found)


def submitted_stems(folder: Path) -> float:
    return samples(folder, lambda name: name.endswith(".flac") and "_remix" not in name)


def scale_factors(folder: Path) -> float:
    pair, ours, others = written(folder)
    names = [name for name in pair.files if name.endswith(".txt")]
    return differing(((ours / name).read_bytes() for name in names), ((others / name).read_bytes() for name in names))


def remix_to_listen_to(folder: Path) -> float:
    return samples(folder, lambda name: name.endswith("_remix.flac"))


def reading_stems(folder: Path) -> float:
    pair, ours, _ = written(folder)
    signals = StemsForm().read(ours, pair).signals
    assert isinstance(signals, dict)
    return max(gap(signals[name], read_flac_signal(ours / CAD1.stem_name(*pair.id, name))[0]) for name in CAD1.signals)


def true_stems(_folder: Path) -> float:
    """As v0.3.4 has them: 16-bit samples in single precision, both channels resampled at once."""
    ours = reference_stems(SCENES[0].stems)
    return max(
        gap(ours[f"{ear}_{stem}"], resample(float32(SCENES[0].stems[stem]), RATE, 24000)[:, channel])
        for stem in STEMS
        for channel, ear in enumerate(EARS)
    )


def cad1_score(score: Callable[..., Score]) -> Callable[[Path], float]:
    """As `icassp_score`, of each of a pair's eight stems."""

    def measure(folder: Path) -> float:
        pair, references, submitted = next(conformance_cad1.submitted(folder))
        due = conformance_cad1.official_scores()[pair.id].stems
        found = score(pair.scene.id, references, submitted, pair.listener).stems
        assert due is not None
        assert found is not None
        return max(gap(found[name], due[name]) for name in CAD1.signals)

    return measure


STEPS: dict[str, Callable[[Path], float]] = {
    "CAD1: pairs": songs_and_listeners,
    "CAD1: eight stems with NAL-R": eight_stems,
    "CAD1: submitted stems": submitted_stems,
    "CAD1: scale factors": scale_factors,
    "CAD1: remix to listen to": remix_to_listen_to,
    "CAD1: reading the stems": reading_stems,
    "CAD1: reference": true_stems,
    "CAD1: score, locked evaluator": cad1_score(score_stems),
    "CAD1: score, fast engine": cad1_score(score_stems_fast),
}
"""By the names of the document's rows: the largest difference, measured in an empty folder."""
