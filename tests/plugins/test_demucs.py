"""The system `demucs`, with small real checkpoints in demucs' own formats: its stems, its size and its identity."""

import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import SOURCES, hybrid, save_demucs_model, seeded, time_domain, write_bag
from separating import RATE, loaded_demucs, music, separated

from harness.systems import STEMS, Signal, SystemFailure
from harness_plugins.demucs import Demucs

# ---- separation -----------------------------------------------------------------------------------------


def expected_of_demucs(repo: Path, name: str, mixture: Signal, **settings: Any) -> dict[str, Signal]:
    """The stems as demucs and the baseline recipe compute them, written down independently."""
    from demucs.apply import apply_model
    from demucs.pretrained import get_model

    model = get_model(name, repo=repo)
    reference = mixture.T.mean(0)
    normalised = (mixture.T - reference.mean()) / reference.std()
    with torch.no_grad():
        estimate = apply_model(model, torch.tensor(normalised, dtype=torch.float32)[None], **settings)[0]
    sources = estimate.numpy().astype(np.float64) * reference.std() + reference.mean()
    return dict(zip(model.sources, sources.transpose(0, 2, 1), strict=True))


@pytest.mark.parametrize("name", ["tiny", "aaaaaaaa", "cccccccc", "dddddddd"])
def test_separates_as_demucs_does(repo: Path, name: str) -> None:
    mixture = music(1.5)
    expected = expected_of_demucs(repo, name, mixture, shifts=0, overlap=0.25)
    stems = separated(loaded_demucs(repo, name), mixture)
    for stem in STEMS:
        assert np.abs(stems[stem]).max() > 1e-4
        np.testing.assert_array_equal(stems[stem], expected[stem])


def test_half_precision_is_stored_and_not_computed_with(tmp_path: Path) -> None:
    model = seeded(hybrid, 8)
    path = save_demucs_model(tmp_path, "half", model, half=True)
    model.load_state_dict({name: value.half() for name, value in model.state_dict().items()})
    rounded = save_demucs_model(tmp_path, "rounded", model)
    assert path.stat().st_size < 0.6 * rounded.stat().st_size
    system, same, mixture = loaded_demucs(tmp_path, "half"), loaded_demucs(tmp_path, "rounded"), music(1.0)
    assert system.parameters == same.parameters > 0
    assert system.weights_sha256() == same.weights_sha256()
    first, second = separated(system, mixture), separated(same, mixture)
    for stem in STEMS:
        np.testing.assert_array_equal(first[stem], second[stem])


def test_segment_and_overlap_reach_demucs(repo: Path) -> None:
    mixture = music(1.2)
    expected = expected_of_demucs(repo, "tiny", mixture, shifts=0, overlap=0.4, segment=0.7)
    stems = separated(loaded_demucs(repo, segment=0.7, overlap=0.4), mixture)
    for stem in STEMS:
        np.testing.assert_array_equal(stems[stem], expected[stem])


def test_sources_are_taken_by_name(tmp_path: Path) -> None:
    model = seeded(time_domain, 5)
    save_demucs_model(tmp_path, "straight", model)
    shuffled = ("vocals", "other", "drums", "bass")
    args, _ = model._init_args_kwargs
    args[0][:] = shuffled
    save_demucs_model(tmp_path, "shuffled", model)
    mixture = music(0.5)
    straight = separated(loaded_demucs(tmp_path, "straight"), mixture)
    renamed = separated(loaded_demucs(tmp_path, "shuffled"), mixture)
    for source, name in zip(SOURCES, shuffled, strict=True):
        np.testing.assert_array_equal(renamed[name], straight[source])


def test_guitar_and_piano_belong_to_other(tmp_path: Path) -> None:
    six = (*SOURCES, "guitar", "piano")
    save_demucs_model(tmp_path, "six", seeded(lambda: time_domain(six), 6))
    mixture = music(0.5)
    expected = expected_of_demucs(tmp_path, "six", mixture, shifts=0)
    stems = separated(loaded_demucs(tmp_path, "six"), mixture)
    np.testing.assert_allclose(stems["other"], expected["other"] + expected["guitar"] + expected["piano"])
    np.testing.assert_array_equal(stems["bass"], expected["bass"])


def test_same_input_gives_the_same_bits(repo: Path) -> None:
    system, mixture = loaded_demucs(repo), music(1.2)
    first, second = separated(system, mixture), separated(system, mixture)
    assert all(np.array_equal(first[stem], second[stem]) for stem in STEMS)


def test_shifts_are_reproducible_and_leave_the_generator_alone(repo: Path) -> None:
    system, mixture = loaded_demucs(repo, "dddddddd", shifts=2), music(1.0)
    random.seed(1)
    state = random.getstate()
    first = separated(system, mixture)
    assert random.getstate() == state
    random.seed(2)
    second = separated(system, mixture)
    unshifted = separated(loaded_demucs(repo, "dddddddd"), mixture)
    for stem in STEMS:
        np.testing.assert_array_equal(first[stem], second[stem])
        assert not np.array_equal(first[stem], unshifted[stem])


@pytest.mark.parametrize("name", ["tiny", "cccccccc"])
@pytest.mark.parametrize("seconds", [0.5, 1.2])
def test_silence_stays_silent(repo: Path, name: str, seconds: float) -> None:
    stems = separated(loaded_demucs(repo, name), np.zeros((round(seconds * RATE), 2)))
    assert max(np.abs(stem).max() for stem in stems.values()) < 1e-3


@pytest.mark.parametrize("name", ["tiny", "cccccccc"])
def test_half_a_second(repo: Path, name: str) -> None:
    separated(loaded_demucs(repo, name), music(0.5))


def test_a_mixture_whose_channels_cancel(repo: Path) -> None:
    left = music(0.5)[:, 0]
    separated(loaded_demucs(repo), np.stack([left, -left], axis=1))


def test_model_of_another_rate(tmp_path: Path) -> None:
    save_demucs_model(tmp_path, "slow", seeded(lambda: time_domain(samplerate=16000), 7))
    system = loaded_demucs(tmp_path, "slow")
    for frames in (22050, 22051, 30011):
        separated(system, music(frames / RATE))


def test_out_of_memory_says_what_to_do(repo: Path) -> None:
    # More samples to a segment than there is memory on earth.
    system = loaded_demucs(repo, "dddddddd", segment=1e11)
    with pytest.raises(SystemFailure, match=r"out of memory on cpu.*segment=SECONDS"):
        system.separate(music(0.5), RATE)


def test_separate_before_load(repo: Path) -> None:
    with pytest.raises(SystemFailure, match="load"):
        Demucs(repo=repo, model="tiny").separate(music(0.5), RATE)


# ---- size and identity ----------------------------------------------------------------------------------


def test_parameters_of_all_models_are_counted(repo: Path) -> None:
    expected = sum(parameter.numel() for build in (hybrid, time_domain) for parameter in seeded(build).parameters())
    assert loaded_demucs(repo).parameters == expected
    assert Demucs(repo=repo, model="tiny").parameters == 0


def test_a_model_that_is_twice_in_a_bag_counts_once(repo: Path, tmp_path: Path) -> None:
    for path in repo.glob("dddddddd*"):
        shutil.copy(path, tmp_path)
    write_bag(tmp_path, "twice", ["dddddddd", "dddddddd"])
    assert loaded_demucs(tmp_path, "twice").parameters == loaded_demucs(tmp_path, "dddddddd").parameters


def test_hash_depends_on_all_that_decides_the_output(tmp_path: Path) -> None:
    save_demucs_model(tmp_path, "a", seeded(time_domain, 1))
    save_demucs_model(tmp_path, "same", seeded(time_domain, 1), checksum=False)
    save_demucs_model(tmp_path, "weights", seeded(time_domain, 2))
    save_demucs_model(tmp_path, "order", seeded(lambda: time_domain(SOURCES[::-1]), 1))
    save_demucs_model(tmp_path, "segment", seeded(lambda: time_domain(segment=3), 1))
    write_bag(tmp_path, "bag", ["a", "weights"])
    write_bag(tmp_path, "weighted", ["a", "weights"], weights=[[1, 1, 1, 1], [2, 1, 1, 1]])
    hashes = {name: loaded_demucs(tmp_path, name).weights_sha256() for name in ("a", "weights", "order", "segment")}
    hashes |= {name: loaded_demucs(tmp_path, name).weights_sha256() for name in ("bag", "weighted")}
    assert len(set(hashes.values())) == 6
    assert all(len(digest) == 64 for digest in hashes.values())
    assert loaded_demucs(tmp_path, "same").weights_sha256() == hashes["a"]


def test_version_names_the_package() -> None:
    import demucs

    assert demucs.__version__ in Demucs.version


def test_importing_the_plugin_imports_no_torch() -> None:
    script = (
        "import sys, harness_plugins.demucs as d; d.Demucs(model='htdemucs').not_eligible; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
