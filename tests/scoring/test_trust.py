"""Nothing is mixed up, lost or believed that should not be: what happens when things change under our hands."""

import json
import shutil

import numpy as np
import pytest
import soundfile

from harness.compute.local import LocalProcesses
from harness.errors import DataError
from harness.haaqi import lock
from harness.music.layout import load
from harness.systems.discovery import Plugins
from harness.systems.identity import identity_of

QUARTERS = "def separate(self, mixture, sample_rate):\n    return {stem: mixture / 4 for stem in STEMS}"


def board(run_cli, system):
    return [row for row in run_cli("leaderboard", "--json").json if row["system"] == system]


def test_music_that_changes_while_we_work_is_not_taken_for_the_same(tiny_set):
    found = load(tiny_set.root)
    hashes = found.hashes(["mixture", "drums"])
    scene = found.scenes[0]
    assert scene.read("drums", hashes).any()
    shutil.copy(tiny_set.music("bass"), tiny_set.music("drums"))
    with pytest.raises(DataError, match=r"drums\.wav was changed while we worked"):
        scene.read("drums", hashes)


def test_music_that_changes_during_a_run_fails_its_pairs(run_cli, tiny_set, plugin):
    # The system itself damages the second scene's mixture while it works on the first one.
    target = tiny_set.music(scene="scene_V002")
    path = plugin(
        "def separate(self, mixture, sample_rate):\n"
        "    import shutil\n"
        f"    shutil.copy({str(tiny_set.music('bass', 'scene_V002'))!r}, {str(target)!r})\n"
        "    return {stem: mixture / 4 for stem in STEMS}"
    )
    outcome = run_cli("enhance", "--system", "probe", "--plugin", path, *tiny_set.args, "--json")
    assert outcome.code == 1
    assert {failure["scene"] for failure in outcome.json["failures"]} == {"scene_V002"}
    assert "was changed while we worked" in outcome.json["failures"][0]["reason"]


def test_the_content_of_a_file_option_counts_not_its_name(run_cli, tiny_set, plugin, tmp_path):
    path = plugin(f"options = [Option('table', Path, None, 'a table')]\n{QUARTERS}")
    path.write_text("from pathlib import Path\n" + path.read_text())
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "t.json").write_text(folder)

    def enhance(table):
        return run_cli(
            *("enhance", "--system", "probe", "--plugin", path, *tiny_set.args),
            *("--option", f"table={table}", "--output", "made"),
        )

    assert enhance("a/t.json").code == 0
    assert "4 were there already" in enhance("a/t.json").stderr
    other = enhance("b/t.json")
    assert (other.code, "files named by options" in other.error) == (1, True)
    assert (enhance("nowhere").code, enhance("nowhere").error) == (2, "nowhere: no such file or folder")


def test_a_system_is_what_was_imported_not_what_its_file_says_later(plugin):
    path = plugin(QUARTERS)
    system = Plugins([str(path)]).systems["probe"]
    before = identity_of(system()).code
    path.write_text(path.read_text() + "\n# edited while it works\n")
    assert identity_of(system()).code == before
    assert identity_of(Plugins([str(path)]).systems["probe"]()).code != before


def test_what_a_system_is_derived_from_is_part_of_it(plugin, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    base = tmp_path / "base_of_probe.py"
    base.write_text("from harness.systems import Separator\n\n\nclass Base(Separator):\n    pass\n")
    path = plugin(QUARTERS, base="Base")
    path.write_text("from base_of_probe import Base\n" + path.read_text())
    system = Plugins([str(path)]).systems["probe"]
    before = identity_of(system()).code
    assert before.keys() == {"plugin.py", "base_of_probe.py"}
    base.write_text(base.read_text() + "# edited\n")
    assert identity_of(Plugins([str(path)]).systems["probe"]()).code != before


def test_a_failing_rerun_keeps_the_scores_that_are_there(run_cli, tiny_set, plugin, monkeypatch):
    path = plugin(
        "def separate(self, mixture, sample_rate):\n"
        "    import os\n"
        "    if os.environ.get('PROBE_FAILS'):\n"
        "        raise RuntimeError('no luck today')\n"
        "    return {stem: mixture / 4 for stem in STEMS}"
    )
    command = ("run", "--system", "probe", "--plugin", path, *tiny_set.args, "--limit", "1", "--workers", "1")
    assert run_cli(*command, "--output", "one").code == 0
    (before,) = board(run_cli, "probe")
    monkeypatch.setenv("PROBE_FAILS", "1")
    again = run_cli(*command, "--output", "two")
    assert again.code == 1
    assert "no luck today" in again.stderr
    (after,) = board(run_cli, "probe")
    assert (after["scored"], after["mean"]) == (2, before["mean"])


def test_a_submission_cannot_declare_another_run_anew(run_cli, tiny_set, tmp_path):
    command = ("run", "--system", "oracle", *tiny_set.args, "--limit", "1", "--workers", "1", "--output", "oracle")
    assert run_cli(*command).code == 0
    copy = shutil.copytree(tmp_path / "oracle", tmp_path / "copy")
    manifest = json.loads((copy / "submission.json").read_text())
    (copy / "submission.json").write_text(json.dumps({**manifest, "reference": False, "class": "causal"}))
    scored = run_cli("score", copy, *tiny_set.args, "--limit", "1", "--workers", "1")
    assert scored.code == 0, scored.stderr
    assert sorted((row["reference"], row["causal"]) for row in board(run_cli, "oracle")) == [
        (False, True),
        (True, False),
    ]


def test_making_some_scenes_anew_leaves_the_others(run_cli, tiny_set, tmp_path):
    command = ("enhance", "--system", "passthrough", *tiny_set.args, "--output", "made")
    assert run_cli(*command).code == 0
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "made").glob("*.flac")}
    assert run_cli(*command, "--overwrite", "always", "--scenes", "scene_V001").code == 0
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "made").glob("*.flac")}
    assert {name for name in before if before[name] != after[name]} == set(tiny_set.names[:2])
    assert run_cli("validate", "made", *tiny_set.args).code == 0


def test_whoever_is_handed_the_stems_is_a_reference(run_cli, tiny_set, plugin, tmp_path):
    path = plugin(
        "reference = False\n\ndef stems(self, true_stems, sample_rate):\n    return true_stems", base="Reference"
    )
    assert run_cli("enhance", "--system", "probe", "--plugin", path, *tiny_set.args, "--output", "made").code == 0
    assert json.loads((tmp_path / "made/submission.json").read_text())["reference"] is True


def test_options_that_are_no_list_are_the_plugins_error(run_cli, plugin, monkeypatch):
    path = plugin(f"options = Option('depth', float, 0.5, 'how deep')\n{QUARTERS}")
    monkeypatch.setenv("HARNESS_PLUGINS", str(path))
    assert "options must be a list of Option" in json.dumps(run_cli("plugins", "--json").json)
    assert run_cli("systems").code == 0


def test_scoring_works_where_nothing_can_be_cached(run_cli, tiny_set, submission, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", "/proc/nowhere")
    outcome = run_cli("score", submission, *tiny_set.args, "--limit", "1", "--workers", "1")
    assert outcome.code == 0, outcome.stderr


def test_scores_go_to_a_file(run_cli, tiny_set, submission, tmp_path):
    outcome = run_cli("score", submission, *tiny_set.args, "--csv", tmp_path)
    assert (outcome.code, "is a folder" in outcome.error) == (2, True)


def test_a_scene_without_listeners_is_an_error(run_cli, tiny_set):
    tiny_set.edit("scene_listeners", lambda pairs: {**pairs, "scene_V002": []})
    outcome = run_cli("enhance", "--system", "passthrough", *tiny_set.args)
    assert (outcome.code, "scene_V002: names no listener" in outcome.error) == (2, True)


def test_an_interrupt_while_compiled_code_runs_is_no_failed_pair(run_cli, tiny_set, submission, monkeypatch):
    def interrupted(**_):
        # So numba passes on what Ctrl-C raises.
        raise SystemError("returned a result with an exception set") from KeyboardInterrupt()

    lock.ensure_locked()
    monkeypatch.setattr("clarity.evaluator.haaqi.compute_haaqi", interrupted)
    outcome = run_cli("score", submission, *tiny_set.args, "--workers", "1")
    assert (outcome.code, "interrupted" in outcome.error) == (130, True)
    assert [row["failed"] for row in board(run_cli, "passthrough")] == [0]


def test_a_file_that_changes_between_check_and_score_is_not_scored(tiny_set, submission):
    from harness.challenge import STEMS
    from harness.scoring.tasks import ScoreTask, score

    pair = load(tiny_set.root).pairs[0]
    hashes = load(tiny_set.root).hashes(["mixture", *STEMS])
    path = submission / pair.remix_name
    samples, rate = soundfile.read(path, dtype="int16")
    soundfile.write(path, np.clip(samples // 2, -32768, 32767), rate, subtype="PCM_16")
    (([(_, outcome)], _),) = score([ScoreTask(pair, path.parent, "0" * 64, tuple(hashes.items()))], LocalProcesses(1))
    assert "has changed since it was checked" in outcome
