"""Executors that lose tasks, do not see the files, have another evaluator or another environment."""

import json
import socket
import sqlite3
from dataclasses import replace

import pytest
from scoring.made_tasks import tasks_of

from harness.challenge import PROTOCOL
from harness.compute.executor import Lost
from harness.compute.local import LocalProcesses
from harness.errors import DataError
from harness.haaqi.evaluator import Score
from harness.music.evaluationset import Scene
from harness.scoring import tasks


class Fake:
    """An executor that loses some tasks, and else works in this process."""

    workers, far = 1, True

    def __init__(self, deadly):
        self.deadly, self.given = deadly, []

    def map_unordered(self, function, tasks, idle):
        for chunk in tasks:
            self.given.append(len(chunk.tasks))
            lost = any(task.pair.id == self.deadly for task in chunk.tasks)
            yield chunk, Lost("its worker process died 3 times") if lost else function(chunk)


def test_of_a_chunk_that_ends_its_workers_only_the_guilty_pair_fails(monkeypatch, tmp_path):
    monkeypatch.setattr(tasks, "_score_one", lambda task: Score(0.5, 0.5))
    monkeypatch.setattr(Scene, "frames", 10 * PROTOCOL.sample_rate)
    todo = [
        replace(task, folder=tmp_path, pair=replace(task.pair, scene=replace(task.pair.scene, folder=tmp_path)))
        for task in tasks_of(8, 5, 1)
    ]
    executor = Fake(("scene_00002", "L0003"))
    found = {task.pair.id: outcome for results, _ in tasks.score(todo, executor) for task, outcome in results}
    assert len(found) == len(todo)
    assert found.pop(("scene_00002", "L0003")) == "its worker process died 3 times"
    assert set(found.values()) == {Score(0.5, 0.5)}
    assert executor.given == [5] * 8 + [1] * 5


def test_a_machine_that_does_not_see_the_files_is_named(tmp_path):
    (task,) = tasks_of(1, 1, 1)
    task = replace(
        task, folder=tmp_path / "gone", pair=replace(task.pair, scene=replace(task.pair.scene, folder=tmp_path))
    )
    with pytest.raises(
        DataError, match=f"{socket.gethostname()} does not see {tmp_path}/gone: what is scored must stay"
    ):
        list(tasks.score([task], LocalProcesses(1)))


def test_a_worker_with_another_evaluator_is_named(monkeypatch, tmp_path, score):
    tasks._proven.cache_clear()
    real = tasks.lock.source_problems
    monkeypatch.setattr(tasks.lock, "source_problems", lambda protocol: ["clarity/x.py has been changed"])
    monkeypatch.setattr("harness.haaqi.lock.ensure_locked", lambda protocol: None)
    refused = score()
    assert refused.code == 1
    assert f"error: {socket.gethostname()}: the evaluator is not the locked one: clarity/x.py" in refused.stderr
    monkeypatch.setattr(tasks.lock, "source_problems", real)
    # Its own lock is another one.
    described = tasks.described
    monkeypatch.setattr(
        tasks, "described", lambda protocol: replace(described(protocol), host="n7", fingerprint="1" * 64)
    )
    refused = score()
    tasks._proven.cache_clear()
    assert refused.code == 1
    assert "n7 scores with another evaluator (111111111111) than this machine (16b8" in refused.stderr


def test_a_score_has_the_environment_of_who_computed_it(monkeypatch, score, tmp_path):
    tasks._proven.cache_clear()
    environment = tasks.lock.environment
    monkeypatch.setattr(tasks.lock, "environment", lambda: {**environment(), "platform": "another node"})
    assert score("--limit", "1").code == 0
    tasks._proven.cache_clear()
    with sqlite3.connect(tmp_path / "leaderboard.db") as database:
        details = [json.loads(each) for (each,) in database.execute("SELECT details FROM environments")]
    assert {each["platform"] for each in details} == {"another node"}
