"""Work is shared out, comes back whole, and is done by processes that nothing done to this one can reach."""

import multiprocessing
import os
import pickle
import signal
import sys
import venv
from pathlib import Path

import pytest

import harness
from harness.compute.local import Pool, kept_surroundings, map_unordered
from harness.errors import EvaluatorError, HarnessError
from harness.files import sha256_of
from harness.haaqi.evaluator import checked

HERE = "__import__('os').getpid()"


def answers(*tasks: str, workers: int = 2) -> list[object]:
    """What Python expressions are in workers, in their order."""
    found = dict(map_unordered(eval, tasks, workers, always_apart=True))
    return [found[task] for task in tasks]


def test_every_task_has_its_result() -> None:
    tasks = [f"{number} ** 2" for number in range(20)]
    assert answers(*tasks, workers=3) == [number**2 for number in range(20)]
    assert list(map_unordered(len, [], 2)) == []


def test_little_work_is_done_here_unless_it_must_not_be() -> None:
    assert [pid for _, pid in map_unordered(eval, [HERE, HERE], 1)] == [os.getpid()] * 2
    assert [pid for _, pid in map_unordered(eval, [HERE], 2)] == [os.getpid()]
    ((_, pid),) = map_unordered(eval, [HERE], 1, always_apart=True)
    assert pid != os.getpid()
    one, two = answers(HERE, f"{HERE} + 0", workers=1)
    assert one == two


def test_a_pool_stays_with_what_it_keeps() -> None:
    """Its processes are the same for the next work, also those for which the first had none."""
    with Pool(eval, 3) as pool:
        assert [value for _, value in pool.map_unordered(["1 + 1"])] == [2]
        slowly = [f"__import__('time').sleep(0.5) or {HERE} + 0 * {number}" for number in range(9)]
        first = {value for _, value in pool.map_unordered(slowly)}
        assert len(first) == 3
        assert {value for _, value in pool.map_unordered(slowly)} == first
        assert list(pool.map_unordered([])) == []
        assert not pool.closed
    assert pool.closed
    for pid in first:
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


def test_a_pool_ends_when_its_work_is_stopped() -> None:
    """Else the next work would be given results of this one."""
    pool = Pool(eval, 2)
    with pytest.raises(ZeroDivisionError):
        list(pool.map_unordered(["1 / 0", "2", "3"]))
    assert pool.closed
    pool = Pool(eval, 2)
    results = pool.map_unordered(["1", "2", "3"])
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert pool.closed


def test_large_tasks_and_results_travel() -> None:
    size = 3 * 10**6
    ((task, length),) = map_unordered(len, [bytes(size)], 1, always_apart=True)
    assert (len(task), length) == (size, size)
    assert answers(f"bytes({size})") == [bytes(size)]


def test_what_the_work_raises_is_raised_here() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        answers("1 + 1", "1 / 0")
    assert "worker.py" in caught.value.__notes__[0]  # where it arose
    # Our own errors keep their kind, and with it their exit code.
    with pytest.raises(EvaluatorError, match="fuzzy"):
        answers(_raising("EvaluatorError", "fuzzy"))
    # What cannot be sent is told in words.
    with pytest.raises(RuntimeError, match=r"^Strange: odd$"):
        answers("(_ for _ in ()).throw(type('Strange', (Exception,), {})('odd'))")
    with pytest.raises(pickle.PicklingError):
        answers("lambda: 1")


def _raising(kind: str, text: str) -> str:
    return f"(_ for _ in ()).throw(__import__('harness.errors').errors.{kind}({text!r}))"


@pytest.mark.parametrize(
    ("how", "said"),
    [("os._exit(3)", "exit status 3"), ("os.kill(os.getpid(), 9)", "signal 9")],
    ids=["exit", "kill"],
)
def test_a_worker_that_dies_is_one_line(how: str, said: str) -> None:
    with pytest.raises(HarnessError) as caught:
        answers(f"__import__('time').sleep(60) or '{how}'", f"exec('import os; {how}')")
    assert str(caught.value) == (
        f"a worker process died ({said}; out of memory?): run the same command again with fewer --workers, "
        "or --processes of a system: it continues"
    )


@pytest.mark.parametrize(
    ("body", "said"),
    [("kill -9 $$", "signal 9"), ("exit 7", "exit status 7"), (None, "No such file or directory")],
    ids=["killed", "exit", "missing"],
)
def test_workers_that_cannot_start_are_one_line(
    body: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    if body is not None:
        python.write_text(f"#!/bin/sh\n{body}\n")
        python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(HarnessError) as caught:
        answers("1", "2")
    assert str(caught.value).startswith(f"worker processes cannot start ({said}): ")


def test_an_interpreter_without_harness_is_told_from_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    venv.create(tmp_path / "bare", symlinks=True)
    python = tmp_path / "bare" / "bin" / "python"
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(HarnessError, match=f"^worker processes cannot start: install cadenza-harness for {python}$"):
        answers("1")


def test_workers_of_another_copy_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "__init__.py").touch()
    monkeypatch.setattr(harness, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(HarnessError, match="worker processes import harness from "):
        answers("1")


def test_no_worker_outlives_the_work() -> None:
    pids = answers(HERE, f"{HERE} + 0")
    work = map_unordered(eval, [HERE, "__import__('time').sleep(60)"], 2)
    pids.append(next(work)[1])
    work.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(int(str(pid)), 0)


def test_workers_start_although_an_interrupt_waits() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert answers("__import__('signal').getsignal(2) == 1") == [True]
        assert answers("__import__('signal').pthread_sigmask(0, [])") == [set()]
    finally:
        signal.signal(signal.SIGINT, before)


# Nothing reaches them


@pytest.fixture
def customized(tmp_path: Path) -> Path:
    """A folder whose modules make themselves known to any Python that imports them."""
    for name in ("sitecustomize", "usercustomize"):
        (tmp_path / f"{name}.py").write_text("import builtins\nbuiltins.reached = True\n")
    return tmp_path


REACHED = "hasattr(__import__('builtins'), 'reached')"


def test_variables_do_not_reach_them(customized: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "PYTHONPATH": str(customized),
        "PYTHONUSERBASE": str(customized),
        "PYTHONOPTIMIZE": "1",
        "NUMBA_DISABLE_JIT": "1",
        "LD_PRELOAD": "",
        "OMP_NUM_THREADS": "7",
        "LC_TIME": "C",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(customized)
    reached, flags, path, names, threads = answers(
        REACHED,
        "[__import__('sys').flags.isolated, __import__('sys').flags.optimize]",
        "__import__('sys').path",
        "sorted(__import__('os').environ)",
        "__import__('os').environ['OMP_NUM_THREADS']",
    )
    assert reached is False
    assert flags == [1, 0]
    assert isinstance(path, list)
    assert not {"", ".", str(customized)} & set(path)
    assert isinstance(names, list)
    assert "LC_TIME" in names
    assert not [name for name in names if name.startswith(("PYTHON", "NUMBA_D", "LD_P"))]
    assert threads == "1"


@pytest.mark.parametrize("name", ["OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES", "MKL_CBWR"])
def test_they_compute_with_the_kernels_of_this_process(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With others, scores differ in their last digits from those that this process computes by itself."""
    monkeypatch.setenv(name, value := {"OPENBLAS_CORETYPE": "Haswell", "MKL_CBWR": "AVX2"}.get(name, "AVX512F"))
    assert answers(f"__import__('os').environ[{name!r}]") == [value]


def test_what_is_changed_in_memory_does_not_reach_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.haaqi.evaluator.checked", lambda *_: 1.0)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr("multiprocessing.spawn._python_exe", "/bin/false")
    multiprocessing.set_start_method("fork", force=True)
    call = "__import__('harness.haaqi.evaluator').haaqi.evaluator.checked('left', 0.25)"
    assert eval(call) == 1.0
    scored, main = answers(call, "__import__('sys').modules['__main__'].__spec__.name")
    assert scored == 0.25
    assert main == "harness.compute.worker"
    monkeypatch.undo()
    multiprocessing.set_start_method(None, force=True)
    assert checked("left", 0.25) == 0.25


def test_they_get_what_was_there_when_the_command_began(
    tmp_path: Path, customized: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "file").write_text("content")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("TZ", "Europe/Vienna")
    with kept_surroundings():
        monkeypatch.chdir("/")
        monkeypatch.setenv("TZ", "UTC")
        monkeypatch.setattr(sys, "executable", "/bin/false")
        assert answers("__import__('os').environ['TZ']", "__import__('os').getcwd()") == [
            "Europe/Vienna",
            str(tmp_path / "here"),
        ]
        ((_, found),) = map_unordered(sha256_of, [Path("file")], 1, always_apart=True)
    assert found == sha256_of(tmp_path / "here" / "file")


def test_a_process_that_may_have_been_given_other_code_computes_nothing_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert [pid for _, pid in map_unordered(eval, [HERE], 1)] != [os.getpid()]
    monkeypatch.delenv("PYTHONPATH")
    monkeypatch.setitem(sys.modules, "usercustomize", harness)
    assert [pid for _, pid in map_unordered(eval, [HERE], 1)] != [os.getpid()]


def test_a_folder_that_is_gone_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert answers("__import__('os').getcwd()") == ["/"]
