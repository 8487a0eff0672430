"""Clusters that run already: found, checked, and used as they are."""

import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from compute.adding import open_and_add

from harness.compute.cluster.opening import opened_cluster
from harness.errors import HarnessError, UsageError

pytest.importorskip("distributed", reason="the extra [cluster] is not installed")

PATIENCE = 120


@contextmanager
def given_cluster(folder: Path, *worker: str, python: tuple[str, ...] = ("-I",), **variables: str) -> Iterator[str]:
    """A scheduler and a worker, as people start them; the scheduler's file."""
    file = folder / "scheduler.json"
    environment = {**os.environ, **variables}
    started = [
        subprocess.Popen(
            [*dask("scheduler", "-I"), "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file)],
            stderr=subprocess.DEVNULL,
        )
    ]
    try:
        wait_for(file.exists)
        started.append(
            subprocess.Popen(
                [*dask("worker", *python), "--scheduler-file", str(file), "--local-directory", str(folder), *worker],
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        )
        yield str(file)
    finally:
        for process in started:
            process.terminate()
        for process in started:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def dask(command: str, *python: str) -> list[str]:
    return [sys.executable, *python, "-m", "dask", command, "--no-dashboard"]


def wait_for(condition) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_process_with_several_threads_does_one_thing_at_a_time(tmp_path, caplog):
    """HAAQI draws from a generator that all threads share."""
    begin_and_end = "[__import__('time').monotonic(), __import__('time').sleep(0.1), __import__('time').monotonic()]"
    caplog.set_level("WARNING", "harness")
    with (
        given_cluster(tmp_path, "--nworkers", "1", "--nthreads", "4") as file,
        opened_cluster(file, None, "score", 2) as executor,
    ):
        times = sorted((value[0], value[2]) for _, value in executor.map_unordered(eval, [begin_and_end] * 8))
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(times))
    assert "is not encrypted: whoever reaches it can run code as you there" in caplog.text


def test_workers_that_may_import_other_code_are_refused(tmp_path):
    with (
        given_cluster(tmp_path, "--nthreads", "1", python=(), PYTHONPATH=str(tmp_path)) as file,
        pytest.raises(HarnessError, match=f"{socket.gethostname()} may import other code .*python -I -m dask worker"),
    ):
        open_and_add(file)


def test_a_scheduler_that_ends_ends_the_work_in_one_line(tmp_path):
    with given_cluster(tmp_path, "--nthreads", "1") as file, opened_cluster(file, None, "score", 1) as executor:
        works = executor.map_unordered(eval, [f"__import__('time').sleep(0.2) or {number}" for number in range(1000)])
        next(works)
        for process in psutil.Process().children():
            if "scheduler" in process.cmdline():
                process.kill()
        with pytest.raises(HarnessError, match=r"scheduler is lost: run the same command again: it continues"):
            list(works)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("slum", "expected slurm, local, the address of a Dask scheduler"),
        ("node1:8786", "say tls://node1:8786, or tcp:// where nothing is encrypted"),
        ("tcp://127.0.0.1:1", "no Dask scheduler answers there within"),
        ("FILE", "this is no file that a Dask scheduler has written"),
    ],
)
def test_what_is_no_cluster_is_said(tmp_path, where, said, monkeypatch):
    monkeypatch.setattr("harness.compute.cluster.opening.CONNECT_SECONDS", 2)
    if where == "FILE":
        (tmp_path / "scheduler.json").write_text("{}")
        where = str(tmp_path / "scheduler.json")
    with pytest.raises(HarnessError, match=said):
        open_and_add(where)


def test_a_configuration_is_for_slurm(tmp_path):
    with (
        pytest.raises(UsageError, match="--cluster-config is for --cluster slurm"),
        opened_cluster("local", tmp_path, "score", 1),
    ):
        pass
