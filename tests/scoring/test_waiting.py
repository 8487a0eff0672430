"""Scores that wait to be stored: those of one moment are one transaction."""

from dataclasses import replace

from harness.challenge import PROTOCOL
from harness.scoring import tasks, waiting
from harness_leaderboard.records import NewCheck, NewScore


def test_scores_of_one_moment_are_one_transaction(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(waiting.time, "monotonic", lambda: clock[0])
    proof = tasks.described(PROTOCOL)
    held = waiting.Waiting()
    new = NewScore("1" * 64, "2" * 64, "fast", 0.5, 0.5, False, None)

    def came(count, after):
        clock[0] += after
        held.add([new] * count, proof)
        if held.due(came=True):
            return [len(scores) for scores, _, _ in held.take()]
        return None

    # What comes slowly is stored at once.
    assert came(1, 5) == [1]
    assert came(20, 0.2) == [20]
    # What comes fast waits for half a second, or until there are fifty.
    assert came(1, 0.05) is None
    assert [came(1, 0.09) for _ in range(5)] == [None, None, None, None, [6]]
    assert came(49, 0.01) is None
    assert came(1, 0.01) == [50]
    # While nothing comes, what waits does not wait for the next.
    assert came(1, 0.05) is None
    clock[0] += 0.09
    assert not held.due(came=False)
    clock[0] += 0.02
    assert held.due(came=False)
    # What could not be stored waits on.
    next(held.take())
    assert [len(scores) for scores, _, _ in held.take()] == [1]
    assert not held.due(came=False)
    other = replace(proof, host="n2")
    held.add([new], other)
    held.add([new], proof)
    assert sorted(len(scores) for scores, _, _ in held.take()) == [1, 1]
    assert list(held.take()) == []
    # Checks count as scores do.
    check = NewCheck("1" * 64, "2" * 64, "left", "locked", 0.5, 0.5)
    clock[0] += 5
    held.add([], proof, [check])
    assert held.due(came=True)
    assert [(scores, found) for scores, found, _ in held.take()] == [([], [check])]
