"""What is said of a system that leaves cores idle."""

from typing import Any

import pytest
from support import TinySet

from harness.cli.outcomes import show_idle_cores
from harness.compute import local
from harness.making.make import Enhancement
from harness.music.layout import load
from harness.submission.manifest import CostRecord, manifest_for


def said(tiny_set: TinySet, capsys: pytest.CaptureFixture[str], cpu: float, wall: float, **declared: Any) -> str:
    found = load(tiny_set.root)
    about = {"system": "probe", "version": "1", "class": "causal", "training_data": "none", "kind": "separator"}
    manifest = manifest_for({**about, **declared}, found, soft_clip=False)
    cost = CostRecord(wall_seconds=wall, cpu_seconds=cpu, peak_bytes=10**6)
    manifest.costs.update({scene.song: cost for scene in found.scenes})
    show_idle_cores(Enhancement(manifest, made=[pair.id for pair in found.pairs]), found)
    return capsys.readouterr().err


def test_a_system_that_used_one_core_is_told_how_to_use_more(
    tiny_set: TinySet, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "available_cpus", lambda: 16)
    # Two pieces of music: no more processes than that would have anything to do.
    expected = "probe used about one of 16 cores: --processes 2 runs so many of it side by side\n"
    assert said(tiny_set, capsys, cpu=99.0, wall=100.0) == expected
    assert said(tiny_set, capsys, cpu=900.0, wall=100.0) == ""
    assert said(tiny_set, capsys, cpu=0.9, wall=1.0) == ""
    assert said(tiny_set, capsys, cpu=99.0, wall=100.0, streaming={"block": 10, "latency": 0}) == ""
    assert said(tiny_set, capsys, cpu=99.0, wall=100.0, settings={"device": "cpu"}) == expected
    assert said(tiny_set, capsys, cpu=99.0, wall=100.0, settings={"device": "cuda:1"}) == ""
    monkeypatch.setattr(local, "available_cpus", lambda: 1)
    assert said(tiny_set, capsys, cpu=99.0, wall=100.0) == ""
