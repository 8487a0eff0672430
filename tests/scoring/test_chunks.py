"""The chunks in which tasks of scoring are handed out: neighbours of one scene, checks first, small ones last."""

import math
from itertools import pairwise

import pytest
from scoring.made_tasks import tasks_of

from harness.challenge import PROTOCOL
from harness.music.evaluationset import Scene
from harness.scoring.tasks import in_chunks


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 20, 1), (7, 5, 3), (2, 3, 50), (40, 2, 2)])
def test_chunks_are_neighbours_of_one_scene(shape, workers):
    tasks = tasks_of(*shape)
    chunks = in_chunks(tasks, workers)
    assert [task for chunk in chunks for task in chunk] == tasks
    assert all(len({task.pair.scene.id for task in chunk}) == 1 for chunk in chunks)
    left, submissions = len(tasks), shape[2]
    for chunk, following in pairwise([*chunks, ()]):
        largest = max(3, math.ceil(left / (2 * workers)))
        assert 1 <= len(chunk) <= largest
        if following and chunk[-1].pair.id == following[0].pair.id:
            assert submissions > largest, "a listener's tasks were split"
        elif following and chunk[-1].pair.scene.id == following[0].pair.scene.id:
            assert len(chunk) + submissions > largest, "the next listener's tasks had room"
        left -= len(chunk)
    assert left == 0


def test_chunks_are_whole_scenes_first_and_small_ones_last():
    """A scene costs each worker that has a part of it; and at the end nobody should wait for another's long chunk."""
    assert [len(chunk) for chunk in in_chunks(tasks_of(5, 20, 1), 2)] == [20, 20, 15, 5, 10, 8, 2, 5, 4, 3, 3, 3, 2]


def test_what_is_to_be_checked_comes_first_and_alone():
    check = {("scene_00001", "L0002"), ("scene_00002", "L0000")}
    tasks = tasks_of(3, 4, 2, check=check)
    chunks = in_chunks(tasks, 1)
    first = [(task,) for task in tasks if task.checks]
    assert len(first) == 4
    assert chunks[:4] == first
    assert [task for chunk in chunks[4:] for task in chunk] == [task for task in tasks if not task.checks]


def test_chunks_with_something_that_double_precision_checks_come_before_the_others():
    tasks = tasks_of(3, 4, 2, check={("scene_00001", "L0002")}, by="fast64")
    chunks, plain = in_chunks(tasks, 1), in_chunks(tasks_of(3, 4, 2), 1)
    assert [[task.pair.id for task in chunk] for chunk in chunks[1:]] == [
        [task.pair.id for task in chunk]
        for chunk in plain
        if ("scene_00001", "L0002") not in {t.pair.id for t in chunk}
    ]
    assert ("scene_00001", "L0002") in {task.pair.id for task in chunks[0]}
    assert len(chunks[0]) > 1


def test_the_locked_evaluator_takes_pair_by_pair():
    tasks = tasks_of(2, 3, 2, engine="locked")
    assert in_chunks(tasks, 2) == [(task,) for task in tasks]
    assert in_chunks([], 2) == []


@pytest.mark.parametrize(("workers", "pairs"), [(1, 20), (16, 20), (1000, 5)])
def test_far_workers_are_handed_whole_scenes(workers, pairs, monkeypatch):
    """Handing out a task costs the main process milliseconds: it must not be what a thousand workers wait for."""
    monkeypatch.setattr(Scene, "frames", 10 * PROTOCOL.sample_rate)
    tasks = tasks_of(960, 20, 1, engine="locked")
    chunks = in_chunks(tasks, workers, far=True)
    assert [task for chunk in chunks for task in chunk] == tasks
    assert {len(chunk) for chunk in chunks} == {pairs}


def test_no_chunk_outlives_a_far_worker(monkeypatch):
    """A scene's chunk may hold many submissions: the job's time would be up before it is scored."""
    monkeypatch.setattr(Scene, "frames", 10 * PROTOCOL.sample_rate)
    assert max(map(len, in_chunks(tasks_of(10, 20, 10, engine="locked"), 2, far=True))) == 30
    monkeypatch.setattr(Scene, "frames", 600 * PROTOCOL.sample_rate)
    assert max(map(len, in_chunks(tasks_of(10, 20, 10, engine="locked"), 2, far=True))) == 1
    assert max(map(len, in_chunks(tasks_of(10, 20, 10, engine="fast"), 2, far=True))) == 5
