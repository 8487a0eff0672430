"""`harness set check`: what is unusual and can be scored all the same is a remark."""

import shutil
from pathlib import Path

import pytest
from sets.damage import Damage, drop, music, put, refused, write_positions, written
from support import RunCli, TinySet

REMARKS: dict[str, tuple[Damage, str]] = {
    "unusual gain": (
        put("gains", "gain_scene_V001", "drums", 4),
        "other gains than the challenge's, which are -10, -6",
    ),
    "no name": (drop("listeners", "V1", "name"), 'V1: has no "name", which the official programs put into file names'),
    "unused scene": (drop("scene_listeners", "scene_V002"), "nobody listens to 1 scenes of scenes.valid.json"),
    "silent stem": (music("vocals", written(level=0)), "vocals.wav: is silent throughout: there are no vocals to sepa"),
    "quiet stem": (
        music("vocals", written(level=1e-5, subtype="FLOAT")),
        "vocals.wav: is so quiet that it has no loudness (never above -70 LUFS)",
    ),
    "clipped": (music("drums", written(level=1)), "drums.wav: is clipped: "),
    "over full scale": (music("drums", written(level=1, subtype="FLOAT")), "drums.wav: exceeds full scale at "),
    "24 bit": (music("drums", written(subtype="PCM_24")), "audio: other than 16 bit in 1 of 2 folders (24 bit in 1)"),
    "unused music": (
        lambda tiny: shutil.copytree(tiny.music().parent, tiny.root / "audio/at_mic_music/valid/Old"),
        "audio/at_mic_music: 1 folders of music are named by no entry (valid/Old)",
    ),
    "other split": (
        lambda tiny: (tiny.root / "metadata/listeners.train.json").write_text("{}"),
        'the split "train" is not complete, and was not checked: only listeners.train.json of it',
    ),
    "no positions": (lambda tiny: None, "head_loudspeaker_positions.json: is missing"),
    "old name": (
        lambda tiny: write_positions(tiny, name="head_positions.json"),
        "head_positions.json: the official generator and harness set at-mic look for head_loudspeaker_positions.json",
    ),
    "no impulse responses": (
        lambda tiny: ((tiny.root / "audio/hrtf").mkdir(), write_positions(tiny)),
        "2 files of impulse responses are not in audio/hrtf (BTE_fr-VP_E1-n30.0",
    ),
}


@pytest.mark.parametrize("case", REMARKS)
def test_what_is_unusual_is_a_remark(case: str, tiny_set: TinySet, run_cli: RunCli) -> None:
    damage, expected = REMARKS[case]
    damage(tiny_set)
    outcome = run_cli("set", "check", tiny_set.root, "--workers", "1")
    assert outcome.code == 0, outcome.stdout
    remarks = [line for line in outcome.stdout.splitlines() if line.startswith("remark: ")]
    assert any(expected in line for line in remarks), outcome.stdout
    assert not refused(tiny_set.root)


def test_music_that_lies_elsewhere_is_a_remark(tiny_set: TinySet, tmp_path: Path, run_cli: RunCli) -> None:
    away = tmp_path / "away.wav"
    tiny_set.music().rename(away)
    tiny_set.music().symlink_to(away)
    outcome = run_cli("set", "check", tiny_set.root)
    assert outcome.code == 0
    assert "mixture.wav: is a link that leads out of the set" in outcome.stdout
