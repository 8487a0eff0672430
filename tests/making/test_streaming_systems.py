"""Streaming systems through the command line: the files, what the manifest says of them, and what goes wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from support import FRAMES, RunCli, TinySet

from harness.making.loads import load_of, processor
from harness.submission.manifest import MANIFEST, Manifest

Write = Callable[..., Path]

LINE = (
    "block, latency = 110, 110\n"
    "causal = False\n"
    "def prepare(self, sample_rate, block, channels):\n"
    "    self.waiting = np.zeros((self.latency, channels))\n"
    "def process(self, block):\n"
    "    both = np.concatenate([self.waiting, block])\n"
    "    self.waiting = both[len(block):]\n"
    "    return {stem: both[:len(block)] / 4 for stem in STEMS}\n"
)
QUARTERS = "def separate(self, mixture, sample_rate):\n    return {stem: mixture / 4 for stem in STEMS}"
HALF = (
    "block = 220\n"
    "def prepare(self, sample_rate, block, channels, listener, gains):\n"
    "    self.gain = 0.5 if listener.id == 'V1' else 0.25\n"
    "def process(self, block):\n"
    "    return self.gain * block\n"
)
SONGS = ["Vector One-hlp_0001", "Vector Two"]


def files(folder: Path, names: list[str]) -> list[Any]:
    return [soundfile.read(folder / name, dtype="int16")[0] for name in names]


@pytest.mark.parametrize("manner", [(), ("--in-process",)])
def test_a_stream_ends_as_the_file_that_the_whole_piece_would_be(
    manner: tuple[str, ...], run_cli: RunCli, tiny_set: TinySet, plugin: Write, tmp_path: Path
) -> None:
    common = ("enhance", "--system", "probe", *tiny_set.args)
    streaming = plugin(LINE, "StreamingSeparator")
    made = run_cli(*common, "--plugin", streaming, "--output", "streamed", *manner)
    assert made.code == 0, made.stderr
    whole = plugin(QUARTERS, file="whole.py")
    assert run_cli(*common, "--plugin", whole, "--output", "whole").code == 0
    for one, other in zip(*(files(tmp_path / each, tiny_set.names) for each in ("streamed", "whole")), strict=True):
        assert np.array_equal(one, other)
    manifest = json.loads((tmp_path / "streamed" / MANIFEST).read_text())
    assert manifest["class"] == "causal"
    assert manifest["chain"] == "baseline"
    assert manifest["streaming"] == {"block": 110, "latency": 110}
    assert "measure" not in manifest
    assert sorted(manifest["loads"]) == SONGS
    for load in manifest["loads"].values():
        assert load["blocks"] == -(-(FRAMES + 110) // 110)
        assert 0 < load["cpu_p50"] <= load["cpu_p99"] <= load["cpu_worst"]
        assert 0 < load["wall_p50"] <= load["wall_p99"] <= load["wall_worst"]
        assert load["processor"] == processor()
    assert sorted(manifest["costs"]) == ([] if manner else SONGS)
    other = json.loads((tmp_path / "whole" / MANIFEST).read_text())
    assert (other["streaming"], other["loads"]) == (None, {})
    assert run_cli("validate", "streamed", *tiny_set.args).code == 0


def test_loads_stay_with_the_files_that_stay(run_cli: RunCli, tiny_set: TinySet, plugin: Write, tmp_path: Path) -> None:
    path = plugin(LINE, "StreamingSeparator")
    command = ("enhance", "--system", "probe", *tiny_set.args, "--plugin", path, "--output", "made")
    assert run_cli(*command).code == 0
    before = json.loads((tmp_path / "made" / MANIFEST).read_text())["loads"]
    (tmp_path / "made" / tiny_set.names[0]).unlink()
    assert run_cli(*command).code == 0
    after = json.loads((tmp_path / "made" / MANIFEST).read_text())["loads"]
    assert after[SONGS[1]] == before[SONGS[1]]
    assert after[SONGS[0]] != before[SONGS[0]]
    # Another block is another system.
    plugin(LINE.replace("110, 110", "64, 110"), "StreamingSeparator")
    other = run_cli(*command)
    assert other.code == 1
    assert "block and latency" in other.error


def test_an_enhancer_streams_once_for_each_listener(
    run_cli: RunCli, tiny_set: TinySet, plugin: Write, tmp_path: Path
) -> None:
    path = plugin(HALF, "StreamingEnhancer")
    made = run_cli("enhance", "--system", "probe", *tiny_set.args, "--plugin", path, "--output", "made")
    assert made.code == 0, made.stderr
    manifest = json.loads((tmp_path / "made" / MANIFEST).read_text())
    pieces = [f"scene_V00{scene} V{listener}" for scene in (1, 2) for listener in (1, 2)]
    assert sorted(manifest["loads"]) == sorted(manifest["costs"]) == pieces
    louder, softer = files(tmp_path / "made", tiny_set.names[:2])
    assert 1.99 < np.abs(louder).max() / np.abs(softer).max() < 2.01


def test_a_block_of_more_than_5_ms_is_not_causal_whatever_is_declared(
    run_cli: RunCli, tiny_set: TinySet, plugin: Write, tmp_path: Path
) -> None:
    path = plugin(LINE.replace("110, 110\ncausal = False", "222, 0\ncausal = True"), "StreamingSeparator")
    command = ("enhance", "--system", "probe", *tiny_set.args, "--plugin", path, "--output", "made", "--limit", "1")
    assert run_cli(*command).code == 0
    assert json.loads((tmp_path / "made" / MANIFEST).read_text())["class"] == "non-causal"


FAILING = {
    "raises": ("raise ValueError('no')", "system probe raised ValueError: no (plugin.py:15) (block 1 of 401 of noise)"),
    "returns nothing": (
        "return None",
        "system probe: process() must return a signal for each of vocals, drums, bass, ",
    ),
    "returns too much": (
        "return dict.fromkeys(STEMS, np.zeros((111, 2)))",
        "system probe: its stem vocals has shape (111, 2), expected (110, 2) (block 1 of 401 of noise)",
    ),
    "is silent": ("return dict.fromkeys(STEMS, 0 * block)", "system probe: returned silence in all four stems"),
    "dies": ("import os; os._exit(3)", "system probe ended with exit code 3 (block 1 of 401 of noise)"),
}


@pytest.mark.parametrize("case", FAILING)
def test_what_goes_wrong_is_the_reason_of_all_pairs(
    case: str, run_cli: RunCli, tiny_set: TinySet, plugin: Write
) -> None:
    code, expected = FAILING[case]
    body = f"block = 110\ndef prepare(self, *_): pass\ndef process(self, block):\n    {code}"
    made = run_cli(
        *("enhance", "--system", "probe", *tiny_set.args, "--plugin", plugin(body, "StreamingSeparator"), "--json")
    )
    assert made.code == 1
    assert len(made.json["failures"]) == 4
    for failure in made.json["failures"]:
        assert failure["reason"].startswith(expected)


def test_a_hung_block_ends_with_the_timeout(run_cli: RunCli, tiny_set: TinySet, plugin: Write) -> None:
    body = "def prepare(self, *_): pass\ndef process(self, block):\n    import time; time.sleep(100)"
    path = plugin(body, "StreamingSeparator")
    command = ("enhance", "--system", "probe", *tiny_set.args, "--plugin", path, "--json", "--limit", "1")
    made = run_cli(*command, "--timeout", "4")
    expected = "system probe took longer than 4 s, and was ended (block 1 of 690 of noise)"
    assert [failure["reason"] for failure in made.json["failures"]] == [expected] * 2


def test_what_was_said_of_chain_and_stream_is_part_of_a_key_only_where_it_is_said() -> None:
    document = {
        **{"format": 1, "system": "a", "version": "1", "class": "causal", "training_data": "none"},
        "evaluation_set": {"name": "tiny", "split": "valid"},
    }
    plain = Manifest.model_validate(document)
    assert not {"chain", "block and latency"} & set(plain.identity)
    live = Manifest.model_validate({**document, "chain": "live"})
    streamed = Manifest.model_validate({**document, "streaming": {"block": 64, "latency": 0}})
    other = Manifest.model_validate({**document, "streaming": {"block": 64, "latency": 1}})
    assert len({each.key for each in (plain, live, streamed, other)}) == 4
    assert plain.differences(live) == ["chain"]
    assert streamed.differences(other) == ["block and latency"]


def test_a_load_counts_every_block() -> None:
    cpu = np.array([0.1] * 97 + [0.5, 1.0, 3.0])
    wall = np.array([0.2] * 97 + [1.5, 1e12, 2.0])
    load = load_of(cpu, wall)
    assert (load.blocks, load.cpu_late, load.wall_late) == (100, 1, 3)
    assert (load.cpu_p50, load.cpu_worst, load.wall_p50, load.wall_worst) == (0.1, 3.0, 0.2, 1e9)
    assert load.cpu_p99 == pytest.approx(np.quantile(cpu, 0.99))
