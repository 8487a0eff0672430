"""`harness.evaluate`: names, classes, objects and functions; what is stored, what fails, what it leaves behind."""

import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from support import RunCli, TinySet

import harness
from harness.challenge import STEMS
from harness.enhancement import Signal, amplify
from harness.errors import DataError, HarnessError, PluginError, SystemFailure, UsageError
from harness.hearing import Listener
from harness.music.layout import load
from harness.results.evaluating import evaluate
from harness.systems import Enhancer, Option, Separator

ONE = {"limit": 1, "workers": 1}


def quarters(mixture: Signal, rate: int) -> list[Signal]:
    """Every stem is a quarter of the mixture."""
    assert rate == 44100
    return [mixture / 4] * 4


def sides(mixture: Signal, rate: int) -> dict[str, Signal]:
    """The left channel is the vocals, the right one the rest. Unlike quarters, their sum depends on the gains."""
    left, right = mixture * [1, 0], mixture * [0, 1]
    return {"vocals": left, "drums": right / 3, "bass": right / 3, "other": right / 3}


class Louder(Separator):
    """The left channel, as loud as its setting says, for the vocals."""

    name = "louder"
    version = "3"
    training_data = "none"
    licence = "none"
    options = (Option("vocals", float, 1.0, "factor of the vocals", minimum=0),)
    loaded = 0

    def load(self) -> None:
        self.loaded += 1

    def separate(self, mixture: Signal, sample_rate: int) -> Mapping[str, Signal]:
        assert self.loaded == 1
        stems = sides(mixture, sample_rate)
        return {**stems, "vocals": self.settings["vocals"] * stems["vocals"]}


class Amplified(Enhancer):
    """The mixture through NAL-R, as passthrough."""

    name = "amplified"
    version = "1"

    def enhance(self, mixture: Signal, sample_rate: int, listener: Listener, gains: Mapping[str, float]) -> Signal:
        return amplify(mixture, listener)


def test_a_function_scores_as_the_command_line_scores_it(tiny_set: TinySet, run_cli: RunCli, plugin, tmp_path) -> None:
    body = """
    def separate(self, mixture, sample_rate):
        return {name: mixture / 4 for name in STEMS}
    """
    assert run_cli("run", "--plugin", plugin(body), "--system", "probe", *tiny_set.args, "--engine", "fast").code == 0
    theirs = harness.load_results(tmp_path / "leaderboard.db").pairs
    results = evaluate(quarters, tiny_set.root)
    # To the last digit but where the locked evaluator's score counts: which pairs it checks depends on the run.
    assert list(results.pairs["score"]) == pytest.approx(list(theirs["score"]), abs=1e-8)
    assert list(results.pairs["file_sha256"]) == list(theirs["file_sha256"])
    (run,) = results.runs.to_dict("records")
    assert (run["label"], run["scored"], run["due"], run["status"]) == ("quarters", 4, 4, "not eligible")
    assert run["isolation"] == "in-process"
    assert run["mean"] == pytest.approx(results.pairs["score"].mean(), rel=1e-15)
    assert results.scenes is not None
    assert len(results.scenes) == 2


def test_what_a_function_may_return(tiny_set: TinySet) -> None:
    def mapping(mixture: Signal, rate: int) -> dict[str, Signal]:
        return dict.fromkeys(reversed(STEMS), mixture / 4)

    def array(mixture: Signal, rate: int) -> Signal:
        return np.stack([mixture / 4] * 4).astype(np.float32)

    one, two = (evaluate(function, tiny_set.root, **ONE).pairs for function in (mapping, array))
    assert one["score"].notna().all()
    np.testing.assert_allclose(one["score"], two["score"], atol=1e-4)


def test_an_instance_is_used_as_it_is_and_a_class_is_made(tiny_set: TinySet) -> None:
    made = Louder(vocals=0.0)
    made.load()
    of_instance = evaluate(made, tiny_set.root, **ONE)
    of_class = evaluate(Louder, tiny_set.root, options={"vocals": 0.0}, **ONE)
    assert list(of_instance.pairs["score"]) == list(of_class.pairs["score"])
    for results in (of_instance, of_class):
        assert results.runs.loc[0, "settings"] == {"vocals": 0.0}
        assert results.runs.loc[0, "version"] == "3"
    assert made.loaded == 1
    other = evaluate(Louder, tiny_set.root, **ONE)
    assert list(other.pairs["score"]) != list(of_class.pairs["score"])


def test_a_registered_system_runs_apart_and_an_enhancer_gives_the_same_here(tiny_set: TinySet) -> None:
    registered = evaluate("passthrough", tiny_set.root, **ONE)
    assert registered.runs.loc[0, "isolation"] == "process"
    assert registered.runs.loc[0, "status"] == "incomplete"
    assert registered.runs.loc[0, "cpu_seconds"] > 0
    here = evaluate(Amplified, tiny_set.root, **ONE)
    assert list(here.pairs["score"]) == list(registered.pairs["score"])


def test_plugins_options_and_reference_by_name(tiny_set: TinySet, plugin) -> None:
    body = """
    options = [Option("gain", float, 1.0, "a factor")]

    def separate(self, mixture, sample_rate):
        return {name: self.settings["gain"] * mixture / 4 for name in STEMS}
    """
    results = evaluate("probe", tiny_set.root, plugins=[plugin(body)], options={"gain": 0.5}, **ONE)
    assert results.runs.loc[0, "settings"] == {"gain": 0.5}
    assert results.pairs["score"].notna().all()


def test_nothing_is_stored_unless_it_is_asked_for(tiny_set: TinySet, tmp_path: Path, monkeypatch) -> None:
    work, temporary = tmp_path / "work", tmp_path / "temporary"
    work.mkdir()
    temporary.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    before = np.random.get_state()[1].copy()
    evaluate(quarters, tiny_set.root, **ONE)
    assert list(work.iterdir()) == []
    assert list(temporary.iterdir()) == []
    assert (np.random.get_state()[1] == before).all()
    evaluate(quarters, tiny_set.root, db="board.db", output="made", name="my quarters", **ONE)
    assert {path.name for path in work.iterdir()} >= {"board.db", "made"}
    assert len(list((work / "made").glob("*.flac"))) == 2
    stored = harness.load_results("board.db").runs
    assert list(stored["name"]) == ["my quarters"]
    assert list(stored["submission"]) == ["made"]


def test_a_function_that_was_changed_is_made_anew(tiny_set: TinySet, tmp_path: Path) -> None:
    """Its name and version are the same, and nobody can know what else is."""
    where = {"db": tmp_path / "board.db", "output": tmp_path / "made"}
    first = evaluate(quarters, tiny_set.root, **where, **ONE)

    def other(mixture: Signal, rate: int) -> dict[str, Signal]:
        return sides(mixture, rate)

    other.__name__ = "quarters"
    second = evaluate(other, tiny_set.root, **where, **ONE)
    assert list(first.pairs["score"]) != list(second.pairs["score"])
    assert list(second.pairs["score"]) == list(evaluate(other, tiny_set.root, **ONE).pairs["score"])


def test_with_a_board_only_the_run_comes_back_with_its_rank(tiny_set: TinySet, tmp_path: Path) -> None:
    board = tmp_path / "board.db"
    evaluate("oracle", tiny_set.root, db=board)
    results = evaluate("passthrough", tiny_set.root, db=board)
    assert len(harness.load_results(board).runs) == 2
    assert list(results.runs["system"]) == ["passthrough"]
    assert list(results.runs["rank"]) == [1]
    assert set(results.pairs["run"]) == {2}


def test_failures_are_pairs_with_reasons(tiny_set: TinySet) -> None:
    def fails(mixture: Signal, rate: int) -> list[Signal]:
        raise ZeroDivisionError("too small")

    def nothing(mixture: Signal, rate: int) -> None:
        return None

    def three(mixture: Signal, rate: int) -> list[Signal]:
        return [mixture] * 3

    def silent(mixture: Signal, rate: int) -> list[Signal]:
        return [0 * mixture] * 4

    def short(mixture: Signal, rate: int) -> list[Signal]:
        return [mixture[1:]] * 4

    def words(mixture: Signal, rate: int) -> dict[str, str]:
        return {"vocals": "loud"}

    for function, reason in (
        (fails, "system fails raised ZeroDivisionError: too small (test_evaluate.py:"),
        (nothing, "system nothing: returned None: does the function end with return?"),
        (
            three,
            "system three: returned an array of shape (3, 30870, 2), expected (4, samples, 2) in the order vocals,",
        ),
        (silent, "system silent: returned silence in all four stems"),
        (short, "system short: its stem vocals has 30869 samples, expected 30870"),
        (words, "system words: must return a signal for each of vocals, drums, bass, other; it returned vocals"),
    ):
        results = evaluate(function, tiny_set.root, **ONE)  # type: ignore[arg-type]
        assert list(results.pairs["state"]) == ["failed", "failed"]
        assert results.pairs["score"].isna().all()
        assert all(found.startswith(reason) for found in results.pairs["reason"]), list(results.pairs["reason"])
        assert results.runs.loc[0, "failed"] == 2


def test_a_failure_of_one_piece_costs_no_other(tiny_set: TinySet) -> None:
    calls = []

    def once(mixture: Signal, rate: int) -> list[Signal]:
        calls.append(len(mixture))
        if len(calls) == 1:
            raise RuntimeError("the first")
        return quarters(mixture, rate)

    results = evaluate(once, tiny_set.root)
    assert list(results.pairs["state"]) == ["failed", "failed", "scored", "scored"]


def test_only_what_was_selected_comes_back(tiny_set: TinySet) -> None:
    results = evaluate(quarters, load(tiny_set.root), scenes=["scene_V002"], workers=1)
    assert set(results.pairs["scene"]) == {"scene_V002"}
    assert results.runs.loc[0, "due"] == 4
    assert results.scenes is not None
    assert len(results.scenes) == 2


class Broken(Separator):
    """Cannot be loaded."""

    name = "broken"
    version = "1"

    def load(self) -> None:
        raise OSError("no such checkpoint")

    def separate(self, mixture: Signal, sample_rate: int) -> Mapping[str, Signal]:
        raise NotImplementedError


class Nameless(Separator):
    """Declares no name."""

    def separate(self, mixture: Signal, sample_rate: int) -> Mapping[str, Signal]:
        raise NotImplementedError


WRONG = [
    ({"system": "nonsense"}, UsageError, "no system named 'nonsense'"),
    ({"system": "passthrough", "options": {"a": 1}}, UsageError, "has no option 'a'"),
    ({"system": 3}, UsageError, "int is no system"),
    ({"system": quarters, "options": {"a": 1}}, UsageError, "options are for"),
    ({"system": quarters, "plugins": ["x.py"]}, UsageError, "plugins are for"),
    ({"system": Louder, "options": {"loud": 1}}, UsageError, "has no option 'loud'"),
    ({"system": Broken}, SystemFailure, "system broken could not be set up: OSError: no such checkpoint"),
    ({"system": Nameless}, PluginError, "Nameless declares no name"),
    ({"system": Enhancer}, PluginError, "Enhancer declares no name"),
    ({"system": dict}, PluginError, "is not a class derived from"),
    ({"system": quarters, "engine": "quick"}, UsageError, "engine is 'quick'"),
    ({"system": quarters, "workers": 0}, UsageError, "workers is 0"),
    ({"system": quarters, "limit": 0}, UsageError, "limit is 0"),
    ({"system": quarters, "scenes": ["scene_X"]}, UsageError, "no scene scene_X"),
    ({"system": quarters, "data": "/nowhere"}, UsageError, "/nowhere: no such folder"),
    ({"system": quarters, "name": "7"}, UsageError, "is a number"),
    ({"system": quarters, "db": "/nowhere/board.db"}, HarnessError, "/nowhere"),
]


@pytest.mark.parametrize(("arguments", "kind", "message"), WRONG, ids=[message for _, _, message in WRONG])
def test_wrong_arguments_are_one_line(tiny_set: TinySet, arguments: dict, kind: type[HarnessError], message) -> None:
    with pytest.raises(kind) as error:
        evaluate(**{"data": tiny_set.root, **arguments})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_music_is_said_before_anything_is_done(tiny_set: TinySet) -> None:
    tiny_set.music("bass").unlink()
    with pytest.raises(DataError, match=r"bass\.wav"):
        evaluate(lambda *_: pytest.fail("was called"), tiny_set.root)


def test_progress_is_silent_unless_asked_for(tiny_set: TinySet, capfd: pytest.CaptureFixture[str]) -> None:
    evaluate(quarters, tiny_set.root, **ONE)
    assert capfd.readouterr() == ("", "")
    # What is done within a second is not told of.
    evaluate(quarters, tiny_set.root, progress=True, **{**ONE, "engine": "locked"})
    out, err = capfd.readouterr()
    assert out == ""
    assert "Scoring: 2 of 2 pairs" in err


def test_a_script_needs_no_main_guard(tiny_set: TinySet, tmp_path: Path) -> None:
    """Whatever starts processes must not import the script again."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
        import harness
        print("once")
        results = harness.evaluate(lambda mixture, rate: [mixture / 4] * 4, {str(tiny_set.root)!r}, workers=2)
        print(results.runs["label"][0], results.pairs["score"].count())
        scores = harness.haaqi_batch(
            [harness.remix([scene.read("mixture") / 4] * 4, scene, who) for scene, who in [
                (pair.scene, pair.listener) for pair in harness.load_evaluation_set({str(tiny_set.root)!r}).pairs]],
            ["scene_V001", "scene_V001", "scene_V002", "scene_V002"], ["V1", "V2"] * 2,
            data={str(tiny_set.root)!r}, workers=2)
        print([score.mean for score in scores] == list(results.pairs["score"]) or
              max(abs(a.mean - b) for a, b in zip(scores, results.pairs["score"])) < 1e-6)
        """)
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["once", "function 4", "True"]
    assert done.stderr == ""
