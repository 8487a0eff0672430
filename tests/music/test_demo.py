"""The embedded evaluation sets: built from the real excerpt, complete, and built again when damaged."""

import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import soundfile
from support import RunCli

from harness.challenge import STEMS
from harness.errors import DataError
from harness.music.audiograms import AUDIOGRAMS
from harness.music.demo import DEMO, demo
from harness.music.evaluationset import EvaluationSet
from harness.music.excerpt import EXCERPT
from harness.music.layout import load


@pytest.fixture(scope="module")
def built() -> EvaluationSet:
    return demo()


@pytest.fixture
def own_cache(built: EvaluationSet, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache with the demo set that a test may damage; the folder of the set."""
    source = cache / f"{DEMO.name}-{DEMO.revision}"
    shutil.copytree(source, tmp_path / "cache" / source.name)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / source.name


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_it_is_the_set_that_scores_are_stored_for(built: EvaluationSet) -> None:
    """Its identity, by which stored scores and submissions are found, has never changed."""
    assert built.sha256 == "8b678c8fb2afdd8dc91b0705f3ef86c66713268d73b362dd696eee394e5bbad7"
    assert built.mixtures_sha256 == "c1b5fe4ef6fc20bc066b70ecfb1b1a79dbc557ea11486b90d042f68b71f04309"
    assert [scene.angles for scene in built.scenes] == [(-30.0, 30.0), (-22.5, 37.5), None]


def test_it_has_both_forms_of_scenes_and_enough_pairs(built: EvaluationSet) -> None:
    assert len(built.pairs) >= 8
    at_mic = [scene for scene in built.scenes if "at_mic_music" in scene.folder.parts]
    headphones = [scene for scene in built.scenes if "musdb18hq" in scene.folder.parts]
    assert len(at_mic) >= 2
    assert len(headphones) >= 1
    assert len({tuple(scene.gains.items()) for scene in at_mic}) >= 2
    listeners = {who.id: who for pair in built.pairs for who in [pair.listener]}.values()
    assert any(who.left != who.right for who in listeners)
    assert any(not any(who.left.levels + who.right.levels) for who in listeners)
    assert {who.left.levels for who in listeners} <= {tuple(levels) for levels in AUDIOGRAMS.values()}


def test_its_music_is_music_without_clicks_at_the_ends(built: EvaluationSet) -> None:
    meter = pyloudnorm.Meter(44100)
    for scene in built.scenes:
        mixture, stems = scene.read("mixture"), scene.read_stems()
        assert len(mixture) == 4 * 44100
        assert -40 < meter.integrated_loudness(mixture) < -5
        assert all(np.any(stems[name]) for name in STEMS)
        if "musdb18hq" in scene.folder.parts:
            # Stems add up to the mixture, but for the two lossy codings.
            rest = mixture - sum(stems.values())
            assert np.sum(rest**2) < 0.01 * np.sum(mixture**2)


def test_the_layout_on_disk_is_the_official_one(own_cache: Path, built: EvaluationSet, run_cli: RunCli) -> None:
    names = {path.name for path in (own_cache / "metadata").iterdir()}
    per_split = {
        f"{name}.{DEMO.split}.json" for name in ("listeners", "scenes", "scene_listeners", "at_mic_music", "musdb18")
    }
    assert names == {"gains.json", "head_loudspeaker_positions.json"} | per_split
    assert {path.name for path in (own_cache / "audio").iterdir()} == {"at_mic_music", "musdb18hq", "hrtf"}
    for path in (own_cache / "audio").rglob("*.wav"):
        header = soundfile.info(path)
        assert (header.samplerate, header.channels, header.subtype) == (44100, 2, "PCM_16")
    # It can be used like any other evaluation set, and is the same one.
    assert load(own_cache).sha256 == built.sha256
    assert run_cli("enhance", "--system", "passthrough", "--data", own_cache, "--limit", 1).code == 0


@pytest.mark.parametrize("damage", ["byte", "file", "stray", "list"])
def test_it_is_built_again_when_damaged(damage: str, own_cache: Path, built: EvaluationSet) -> None:
    before = contents(own_cache)
    wav = next((own_cache / "audio").rglob("vocals.wav"))
    if damage == "byte":
        content = bytearray(wav.read_bytes())
        content[5000] ^= 1
        wav.write_bytes(content)
    elif damage == "file":
        wav.unlink()
    elif damage == "stray":
        (own_cache / "metadata" / "stray.json").write_text("{}")
    else:
        (own_cache / "SHA256SUMS").write_bytes(b"\xff\xfe")
    assert demo().sha256 == built.sha256
    assert contents(own_cache) == before
    assert [path.name for path in own_cache.parent.iterdir() if path.name.startswith(".demo")] == []


def test_it_is_left_alone_when_intact(own_cache: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in own_cache.rglob("*")}
    demo()
    assert {path: path.stat().st_mtime_ns for path in own_cache.rglob("*")} == before


def test_two_processes_may_build_it_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    program = [sys.executable, "-c", "from harness.music.demo import demo; print(len(demo().pairs))"]
    both = [subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        stdout, stderr = process.communicate(timeout=120)
        assert (process.returncode, stdout) == (0, "8\n"), stderr
    assert len(list(tmp_path.glob("demo-*"))) == 1


@pytest.mark.parametrize(("state", "expected"), [("changed", "is not the known excerpt"), ("missing", "is missing")])
def test_another_excerpt_is_refused(
    state: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_cli: RunCli
) -> None:
    """A copy of stempeg, damaged, that Python finds before the installed one."""
    spec = find_spec("stempeg")
    assert spec is not None
    assert spec.submodule_search_locations
    copy = shutil.copytree(spec.submodule_search_locations[0], tmp_path / "site" / "stempeg")
    excerpt = copy / "data" / EXCERPT
    if state == "changed":
        excerpt.write_bytes(excerpt.read_bytes()[:-1])
    else:
        excerpt.unlink()
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DataError, match=expected):
        demo()
    outcome = run_cli("enhance", "--system", "passthrough")
    assert outcome.code == 2
    assert expected in outcome.error
    assert "pip install" in outcome.error
    assert "stempeg==0.2.6" in outcome.error


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_cli: RunCli) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "file" / "cache"))
    outcome = run_cli("enhance", "--system", "passthrough")
    assert outcome.code == 1
    assert str(tmp_path / "file") in outcome.error
    assert "set HARNESS_CACHE to another one" in outcome.error


def test_a_disk_that_is_full_is_one_line_and_leaves_nothing(
    run_cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))  # less than a file of music takes
    try:
        outcome = run_cli("enhance", "--system", "passthrough")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert outcome.code == 1
    assert outcome.error.startswith(f"cannot build the embedded evaluation set in {tmp_path / 'cache'}: File too large")
    assert list((tmp_path / "cache").iterdir()) == []
