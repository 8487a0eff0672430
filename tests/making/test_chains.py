"""What follows separation in a submission: the baseline's chain or the one for live music."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from streamers import Bands
from support import RunCli, TinySet

import harness
from harness import chain
from harness.chain import remix_live
from harness.challenge import STEMS
from harness.enhancement import amplify, remix, to_remix_format
from harness.errors import UsageError
from harness.haaqi import conformance
from harness.music.finding import load_evaluation_set
from harness.submission.manifest import MANIFEST, manifest_for, read_manifest
from harness.systems.streaming import OwnStream, stream

STREAMERS = Path(__file__).parent.parent / "streamers.py"
BANDS = ("--plugin", STREAMERS, "--system", "bands", "--option", "late=1000")


def remixed(folder: Path, scene: str) -> np.ndarray:
    samples, _ = soundfile.read(folder / f"{scene}_V1_remix.flac", dtype="int16")
    return np.asarray(samples)


def test_each_chain_makes_its_remixes_of_the_same_stems(run_cli: RunCli, tiny_set: TinySet) -> None:
    for name in ("baseline", "live"):
        done = run_cli("enhance", *BANDS, *tiny_set.args, "--chain", name, "--output", name)
        assert done.code == 0, done.stderr
        assert json.loads(Path(name, MANIFEST).read_text())["chain"] == name
    for scene in load_evaluation_set(str(tiny_set.root), None).scenes:
        music = scene.read("mixture")
        streamed = stream(OwnStream(Bands(late=1000)), music, 44_100)
        stems = dict(zip(STEMS, streamed.signals, strict=True))
        assert streamed.delay == 1000 - 157
        for name, made in (
            ("baseline", remix(stems, scene.gains, music)),
            # The mixture, too, has to wait until the stems are there.
            ("live", remix_live(stems, scene.gains, music, streamed.delay)),
        ):
            expected, _ = to_remix_format(amplify(made, conformance.LISTENERS["V1"]))
            assert np.array_equal(remixed(Path(name), scene.id), expected)


def test_a_run_with_another_chain_is_another_run(run_cli: RunCli, tiny_set: TinySet) -> None:
    args = ("enhance", "--system", "centre", *tiny_set.args, "--output", "made")
    assert run_cli(*args).code == 0
    other = run_cli(*args, "--chain", "live")
    assert other.code == 1
    assert "these differ: harness's own processing, chain" in other.error
    assert run_cli(*args, "--chain", "live", "--overwrite", "always").code == 0
    made = read_manifest(Path("made"))
    assert made is not None
    assert made.chain == "live"
    assert run_cli(*args, "--chain", "dead").code == 2


def test_the_code_of_the_live_chain_is_part_of_its_runs_and_of_no_others(
    tiny_set: TinySet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = load_evaluation_set(str(tiny_set.root), None)
    declared = {"system": "x", "version": "1", "class": "causal", "training_data": "none"}

    def keys() -> tuple[str, str]:
        baseline = manifest_for(declared, found, False)
        assert "chain" not in baseline.identity
        return baseline.key, manifest_for(declared, found, False, "live").key

    before = keys()
    assert before[0] != before[1]
    changed = tmp_path / "chain.py"
    changed.write_bytes(Path(chain.__file__).read_bytes() + b"# another line\n")
    monkeypatch.setattr(chain, "__file__", str(changed))
    after = keys()
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_an_enhancer_owns_its_chain(run_cli: RunCli, tiny_set: TinySet) -> None:
    refused = run_cli("enhance", "--system", "passthrough", *tiny_set.args, "--chain", "live", "--output", "made")
    assert refused.code == 2
    assert "an Enhancer owns its chain" in refused.error
    assert not Path("made").exists()


@pytest.mark.slow
def test_a_notebook_may_choose_the_chain(tiny_set: TinySet) -> None:
    with pytest.raises(UsageError, match="chain is 'dead': expected 'baseline' or 'live'"):
        harness.evaluate("centre", str(tiny_set.root), chain="dead")  # type: ignore[arg-type]
    means = [
        harness.evaluate("centre", str(tiny_set.root), chain=name, workers=1).pairs["score"].mean()
        for name in chain.CHAINS
    ]
    assert means[0] != means[1]
    assert means[0] == pytest.approx(means[1], abs=0.1)
