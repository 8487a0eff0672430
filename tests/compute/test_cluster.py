"""Work that Dask shares out: it comes back whole, whoever dies; nobody else gets in, and no other code scores."""

import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from compute.adding import open_and_add

from harness.compute.cluster import executor as dask_executor
from harness.compute.cluster.opening import opened_cluster
from harness.compute.executor import Lost
from harness.errors import EvaluatorError, HarnessError

pytest.importorskip("distributed", reason="the extra [cluster] is not installed")

PID = "__import__('os').getpid()"
KILLED = "__import__('os').kill(__import__('os').getpid(), 9)"
PATIENCE = 120


@pytest.fixture(scope="module")
def two() -> Iterator[object]:
    """Two workers on this machine."""
    with opened_cluster("local", None, "score", 2) as executor:
        yield executor


def listening(process: psutil.Process) -> set[str]:
    return {each.laddr.ip for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN}


def test_every_task_has_its_result(two):
    tasks = [f"{number} ** 2" for number in range(40)]
    assert sorted(two.map_unordered(eval, tasks)) == sorted((task, eval(task)) for task in tasks)
    assert list(two.map_unordered(eval, [])) == []
    assert two.far
    assert two.workers == 2
    pids = {pid for _, pid in two.map_unordered(eval, [f"__import__('time').sleep(0.2) or {PID}"] * 6)}
    assert len(pids) == 2
    assert os.getpid() not in pids


def test_workers_compute_with_one_thread_each(two):
    ((_, found),) = two.map_unordered(eval, ["dict(__import__('os').environ)"])
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        assert found[name] == "1"


def test_a_task_that_ends_its_workers_is_lost_alone(two):
    tasks = [*(f"{number} + 0" for number in range(6)), KILLED, *(f"{number} + 0" for number in range(6, 12))]
    found = dict(two.map_unordered(eval, tasks))
    lost = found.pop(KILLED)
    assert isinstance(lost, Lost)
    assert lost.reason == "its worker process died 3 times (out of memory?)"
    assert found == {f"{number} + 0": number for number in range(12)}


def test_no_task_waits_on_a_worker_where_it_could_be_blamed_for_another(two):
    # The first is over at once; Dask would have dealt out the others by then.
    works = two.map_unordered(eval, [f"__import__('time').sleep({seconds})" for seconds in (0.1, 0.5, 0.5, 0.5)])
    found = []
    for _ in works:
        found += two._client.run_on_scheduler(held_by_workers)
    assert set(found) <= {0, 1}
    assert 1 in found


def held(dask_scheduler: Any) -> int:
    return len(dask_scheduler.tasks)


def held_by_workers(dask_scheduler: Any) -> list[int]:
    return [len(each.processing) for each in dask_scheduler.workers.values()]


def test_a_result_that_dies_with_its_worker_is_computed_again(two, monkeypatch):
    """Where that happens between the news that it is there and the asking for it."""
    taken, killed = dask_executor._taken, []

    def taken_too_late(finished):
        found = taken(finished)
        if found and not killed:
            (where,) = two._client.who_has(found).values()
            killed.extend(two._client.run(os.getpid, workers=list(where)).values())
            os.kill(killed[0], signal.SIGKILL)
            deadline = time.monotonic() + PATIENCE
            while found[0].status == "finished":
                assert time.monotonic() < deadline
                time.sleep(0.01)
        return found

    monkeypatch.setattr(dask_executor, "_taken", taken_too_late)
    ((_, pid),) = two.map_unordered(eval, [f"__import__('time').sleep(1) or {PID}"])
    assert isinstance(pid, int)
    assert killed
    assert pid not in killed


def test_what_is_done_is_not_done_again_when_its_worker_dies(two, tmp_path):
    """Results that stay on a worker die with it."""
    note = f"(open({str(tmp_path / 'log')!r}, 'a').write('%d\\n'), {PID})[1]"
    works, pids = two.map_unordered(eval, [note % number for number in range(20)]), set()
    for _, pid in works:
        pids.add(pid)
    deadline = time.monotonic() + PATIENCE
    while two._client.run_on_scheduler(held):
        assert time.monotonic() < deadline, "results are not released"
    os.kill(pids.pop(), signal.SIGKILL)
    assert [value for _, value in two.map_unordered(eval, ["1 + 1"])] == [2]
    assert len((tmp_path / "log").read_text().split()) == 20


def test_what_a_task_raises_ends_the_work(two):
    raising = "(_ for _ in ()).throw(__import__('harness.errors').errors.EvaluatorError('not the locked one'))"
    with pytest.raises(EvaluatorError, match="not the locked one"):
        list(two.map_unordered(eval, [raising, *["__import__('time').sleep(0.01)"] * 50]))
    assert [value for _, value in two.map_unordered(eval, ["2 + 1"])] == [3], "the cluster goes on"


def test_nothing_listens_to_other_machines(two):
    ((_, pid),) = two.map_unordered(eval, [PID])
    for process in (psutil.Process(), psutil.Process(pid)):
        assert listening(process) == {"127.0.0.1"}
    ports = [each.laddr.port for each in psutil.Process().net_connections("tcp") if each.status == psutil.CONN_LISTEN]
    assert 8787 not in ports, "other people's clusters have their dashboard there"


def test_nobody_gets_in_without_a_certificate(two):
    address = two._client.scheduler.address
    assert address.startswith("tls://")
    with pytest.raises(HarnessError, match=r"encryption fails .*docs/how-to/slurm\.md"):
        open_and_add(address)
    with pytest.raises(HarnessError, match=r"no Dask scheduler answers|encryption fails"):
        open_and_add(address.replace("tls://", "tcp://"))


def test_workers_with_another_harness_are_refused(two):
    (future,) = [two._client.submit(*asked, pure=False) for asked in [other_code()]]
    with pytest.raises(HarnessError, match=f"{socket.gethostname()} runs another harness: install the same"):
        future.result(PATIENCE)


def other_code() -> tuple[object, ...]:
    from harness.compute.cluster.worker import perform

    return perform, "builtins:eval", pickle.dumps("1 + 1"), "0" * 64


def test_ctrl_c_ends_the_command_and_its_workers(tmp_path):
    """The terminal sends it to all of them."""
    program = (
        "import sys; from harness.cli.computing import executor_of\n"
        "with executor_of('local', None, 'score', 2) as executor:\n"
        f"    for _ in executor.map_unordered(eval, ['print(1) or __import__(\"time\").sleep(60)', {PID!r}]):\n"
        "        print(_[1], flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    while (line := process.stdout.readline()).strip() in ("1", ""):
        assert line, process.communicate()[1]
    workers = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=PATIENCE)
    assert stderr.count("Traceback") == 1, stderr
    assert stderr.rstrip().endswith("KeyboardInterrupt")
    gone, alive = psutil.wait_procs(workers, PATIENCE)
    assert not alive
    assert gone
