"""Systems that mean harm: their pairs fail with the reason, the others are made, and nothing of them is left."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import pytest
from reliability import hostile
from reliability.hostile import Came
from support import Outcome, RunCli, run_app

pytestmark = pytest.mark.slow

WAYS = ("process", "sandbox")
Run = Callable[..., Came]


def ensure_way(way: str) -> list[str]:
    """The options of a way to run systems; skips the test where it cannot be done."""
    if way == "process":
        return []
    if (why := hostile.no_sandbox()) is not None:
        pytest.skip(why)
    return ["--isolate"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`run(modes, way, *args)`: run the plugin for a listener of each mode; once for the same arguments."""

    @cache
    def once(modes: tuple[str, ...], way: str, *args: str, plugin: Path = hostile.EVIL) -> Came:
        options = ensure_way(way)
        folder = tmp_path_factory.mktemp("hostile")
        tiny = hostile.write_set(folder / "tiny", hostile.listeners_for(modes))
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setenv("LC_HARNESS_TRIAL", folder.name)
            command = ("enhance", "--system", "evil", "--plugin", plugin, *tiny.args, "--output", "made", "--json")
            outcome = run_app(*command, *options, *args)
        return hostile.came_of(outcome, folder / "made", folder.name)

    return once


def check(run: Run, mode: str, modes: Mapping[str, str | None], way: str, *args: str) -> None:
    came = run(tuple(modes), way, *args)
    assert hostile.problems_of(mode, modes[mode], came) == []


@pytest.mark.parametrize("mode", hostile.REASONS)
@pytest.mark.parametrize("way", WAYS)
def test_each_mode_has_its_reason_and_the_next_pair_is_made(run: Run, mode: str, way: str) -> None:
    check(run, mode, hostile.REASONS, way)


@pytest.mark.parametrize("way", WAYS)
def test_nothing_of_it_is_left(run: Run, way: str) -> None:
    came = run(tuple(hostile.REASONS), way)
    assert hostile.problems_of_all(came) == []
    expected = {mode for mode, reason in hostile.REASONS.items() if reason is not hostile.MADE}
    assert set(came.reasons) == expected | {f"reset.{mode}" for mode in hostile.POISONS}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", hostile.HANGING)
def test_what_hangs_is_ended(run: Run, mode: str, way: str) -> None:
    check(run, mode, hostile.HANGING, way, "--timeout", "10")


@pytest.mark.parametrize("way", WAYS)
def test_what_takes_too_much_memory_is_ended(run: Run, way: str) -> None:
    check(run, "hog", hostile.HUNGRY, way, "--memory", "1")


@pytest.mark.parametrize("mode", hostile.CHILDREN)
def test_its_children_end_with_it(run: Run, mode: str) -> None:
    check(run, mode, hostile.CHILDREN, "process")
    assert run(tuple(hostile.CHILDREN), "process").left == []


@pytest.mark.parametrize("mode", hostile.SEALED)
def test_what_leaves_its_parent_does_not_leave_the_sandbox(run: Run, mode: str) -> None:
    check(run, mode, hostile.SEALED, "sandbox")
    assert run(tuple(hostile.SEALED), "sandbox").left == []


@pytest.mark.parametrize("mode", hostile.LOADING)
def test_what_goes_wrong_while_it_is_loaded(run: Run, mode: str) -> None:
    came = run((), "process", "--option", f"mode={mode}")
    assert hostile.problems_of_end(Outcome(came.code, came.stdout, came.stderr), hostile.LOADING[mode]) == []
    assert came.left == []


@pytest.mark.parametrize("text", hostile.IMPORTING)
def test_what_goes_wrong_while_it_is_imported(
    text: str, run_cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "evil.py").write_text(f"print('noise')\n{text}\n")
    monkeypatch.setenv("LC_HARNESS_TRIAL", tmp_path.name)
    outcome = run_cli("enhance", "--system", "evil", "--plugin", "evil.py", "--json")
    assert hostile.problems_of_end(outcome, hostile.IMPORTING[text]) == []
    assert hostile.survivors(tmp_path.name) == []
