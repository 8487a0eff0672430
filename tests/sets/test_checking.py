"""`harness set check`: good sets have no problem, and all problems of a bad one come at once, each in one line."""

import shutil
from pathlib import Path

import pytest
from support import AT_MIC, RunCli, TinySet

from harness.music.finding import EMBEDDED, load_evaluation_set
from harness.sets.checking.findings import MAX_OF_A_FILE

GOLDEN = Path(__file__).parents[3] / "shared" / "golden"


def test_a_good_set_has_no_problem(tiny_set: TinySet, run_cli: RunCli) -> None:
    outcome = run_cli("set", "check", tiny_set.root)
    assert outcome.code == 0, outcome.stdout
    assert "valid (ICASSP 2024 Cadenza Grand Challenge): no problems" in outcome.stdout
    assert run_cli("set", "check", tiny_set.root, "--json").json["problems"] == []


def test_folders_that_differ_in_case_are_told_once_in_the_files_order(tiny_set: TinySet, run_cli: RunCli) -> None:
    for name in ("A - a", "a - A"):
        entry = {"Track Name": name, "Split": "valid", "Path": f"valid/{name}"}
        tiny_set.edit("at_mic_music", lambda content, name=name, entry=entry: content.update({name: entry}))
    found = run_cli("set", "check", tiny_set.root, "--json").json
    told = [each for each in found["problems"] if "differ in capital letters" in str(each)]
    assert len(told) == 1
    assert "at_mic_music" in str(told[0])
    assert str(told[0]).index("A - a") < str(told[0]).index("a - A")


def test_all_problems_come_at_once_and_the_same_ones_as_one_line(tiny_set: TinySet, run_cli: RunCli) -> None:
    for name in ("bass", "drums"):
        tiny_set.music(name).unlink()
    tiny_set.edit("gains", lambda content: content["gain_scene_V001"].update(bass="3"))
    tiny_set.edit("listeners", lambda content: content["V2"].update(audiogram_levels_r=[20] * 7))
    tiny_set.edit("scenes", lambda content: content.update({f"scene_{n}": {"music": "x"} for n in range(2000)}))
    outcome = run_cli("set", "check", tiny_set.root)
    lines = outcome.stdout.splitlines()
    assert [line for line in lines if "bass.wav" in line] == [
        f"problem: audio/at_mic_music/valid/{AT_MIC}/drums.wav: is missing; the same in 1 other place: "
        f"audio/at_mic_music/valid/{AT_MIC}/bass.wav"
    ]
    assert sum("gain_scene_V001, bass" in line for line in lines) == 1
    assert sum("V2, right ear" in line for line in lines) == 1
    assert sum('"gain" is missing' in line for line in lines) == 1
    assert f"{2000 - MAX_OF_A_FILE:,} more findings were left off" in outcome.stdout
    found = run_cli("set", "check", tiny_set.root, "--json").json
    assert len(found["problems"]) == 4 + MAX_OF_A_FILE
    assert found["left_off"] == {"metadata/scenes.valid.json": 2000 - MAX_OF_A_FILE}
    assert found["splits"] == [{"split": "valid", "protocol": "cad_icassp_2024"}]


def test_the_split_and_the_protocol_may_be_named(tiny_set: TinySet, tmp_path: Path, run_cli: RunCli) -> None:
    unknown = run_cli("set", "check", tiny_set.root, "--split", "test")
    assert (unknown.code, 'nothing of the split "test"; it has files of valid' in unknown.stdout) == (1, True)
    other = run_cli("set", "check", tiny_set.root, "--protocol", "cad1")
    assert "no folder train" in other.stdout
    nowhere = run_cli("set", "check", tmp_path / "nowhere")
    assert (nowhere.code, "no such folder" in nowhere.error) == (2, True)
    for path in list((tiny_set.root / "metadata").glob("*.valid.json")):
        shutil.copy(path, path.with_name(path.name.replace(".valid.", ".train.")))
    both = run_cli("set", "check", tiny_set.root, "--json").json
    assert [each["split"] for each in both["splits"]] == ["train", "valid"]


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_embedded_sets_are_good(name: str, run_cli: RunCli) -> None:
    folder = load_evaluation_set(name).scenes[0].folder
    root = next(each.parent for each in folder.parents if each.name == "audio")
    outcome = run_cli("set", "check", root)
    assert (outcome.code, "no problems" in outcome.stdout) == (0, True), outcome.stdout


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="the golden data is not beside this checkout")
def test_the_golden_set_is_good_and_its_silent_stem_is_found(run_cli: RunCli) -> None:
    outcome = run_cli("set", "check", GOLDEN)
    assert (outcome.code, "no problems" in outcome.stdout) == (0, True), outcome.stdout
    assert "Golden - Silent Vocals-hlp_0012/vocals.wav: is silent throughout" in outcome.stdout
