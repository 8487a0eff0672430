"""Scores of stems: stored to the last bit, covered by checksums, compared, and moved with the scores they are of."""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import text
from stored import FILE, FINGERPRINT, OTHER_FILE, add, by_hand, count, mark, on_sqlite, reference

from harness_leaderboard import stems
from harness_leaderboard.database import sqlite_engine
from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.facts import stored_scores
from harness_leaderboard.opening import alembic_config
from harness_leaderboard.records import NewScore
from harness_leaderboard.store import Store

Start = Callable[..., int]

EIGHT = {
    **{"left_drums": 0.1 + 0.2, "left_bass": 1 / 3, "left_other": 0.0, "left_vocals": 1.0},
    **{"right_drums": 0.25, "right_bass": 2 / 3, "right_other": 0.5, "right_vocals": 0.125},
}
LEFT, RIGHT = ((sum(EIGHT[f"{ear}_{stem}"] for stem in stems.ORDER) / 4) for ear in ("left", "right"))

COLUMNS_SINCE = ("stem_scores", "in_double", "margin", "closest")
"""Those of scores that the fifth revision does not have."""


def store_eight(store: Store, listener: str = "L1", engine: str = "locked", **changed: float) -> None:
    add(store, "S1", listener, LEFT, RIGHT, engine, stems={**EIGHT, **changed})  # type: ignore[arg-type]


def complete(store: Store, start: Start) -> int:
    run_id = start()
    for scene in ("S1", "S2"):
        for listener in ("L1", "L2"):
            mark(store, run_id, scene, listener)
            add(store, scene, listener, LEFT, RIGHT, stems=EIGHT)
    return run_id


def test_scores_of_stems_come_back_to_the_last_bit(store: Store, start: Start) -> None:
    run_id = start()
    mark(store, run_id, "S1", "L1")
    store_eight(store)
    mark(store, run_id, "S1", "L2")
    add(store, "S1", "L2", 0.5, 0.25)
    pairs = store.find_run(run_id).pairs
    with_stems, without = pairs["S1", "L1"].locked, pairs["S1", "L2"].locked
    assert with_stems is not None
    assert without is not None
    assert with_stems.stems == EIGHT
    assert (with_stems.left, with_stems.right) == (LEFT, RIGHT)
    assert without.stems is None


@pytest.mark.parametrize("value", [float("nan"), -0.1, 1.1, float("inf")])
def test_an_impossible_score_of_a_stem_is_refused(store: Store, start: Start, value: float) -> None:
    start()
    with pytest.raises(LeaderboardError, match=f"remix 1{{12}}: the score {value} of 'left_bass' is not from 0 to 1"):
        store_eight(store, left_bass=value)
    assert count(store, "scores") == 0


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "scores of 0 stems were given, not of 1 to 64"),
        ({f"left_{n}": 0.5 for n in range(65)}, "scores of 65 stems were given"),
        ({"": 0.5}, "a stem is called '' and was not stored: name ear and stem, like left_vocals"),
        ({"mean": 0.5}, "a stem is called 'mean' and"),
        ({"left_": 0.5}, "a stem is called 'left_' and"),
        ({"left_\u00fc": 0.5}, r"a stem is called 'left_.xfc' and"),
        ({"left_vocals\n": 0.5}, r"a stem is called 'left_vocals.n' and"),
        ({"right_" + "x" * 45: 0.5}, "a stem is called 'right_x+' and"),
        ({7: 0.5}, "a stem is called 7 and"),
    ],
)
def test_impossible_stems_are_refused(store: Store, start: Start, given: Mapping[str, float], says: str) -> None:
    start()
    good = NewScore(OTHER_FILE, reference("S1", "L1"), "locked", 0.5, 0.5, stems={"right_" + "x" * 44: 0.5})
    bad = NewScore(FILE, reference("S1", "L1"), "locked", 0.5, 0.5, stems=given)
    with pytest.raises(LeaderboardError, match=says):
        store.add_scores([good, bad], FINGERPRINT, {"locked": {}})
    assert count(store, "scores") == 0
    store.add_scores([good], FINGERPRINT, {"locked": {}})
    assert count(store, "scores") == 1


def test_the_stem_furthest_apart_counts(store: Store, start: Start) -> None:
    run_id = start()
    for listener, fast in (("L1", EIGHT["right_bass"] + 2e-6), ("L2", EIGHT["right_bass"] + 2e-9)):
        mark(store, run_id, "S1", listener)
        store_eight(store, listener)
        store_eight(store, listener, "fast", right_bass=fast)
    pairs = store.find_run(run_id).pairs
    assert pairs["S1", "L1"].difference == pytest.approx(2e-6, rel=1e-6)
    assert [pairs["S1", listener].disputed for listener in ("L1", "L2")] == [True, False]
    assert [run.largest_difference for run in store.runs()] == [pairs["S1", "L1"].difference]
    (whole,) = store.whole_runs()
    assert whole.pairs.difference == [*(pairs["S1", listener].difference for listener in ("L1", "L2")), None, None]
    # Nothing can be further apart than scores of which one engine has no stems.
    add(store, "S1", "L1", LEFT, RIGHT, "fast", replaces=True)
    assert store.find_run(run_id).pairs["S1", "L1"].difference == 1


def test_scores_without_stems_have_the_checksums_that_they_had(store: Store, start: Start) -> None:
    run_id = start()
    mark(store, run_id, "S1", "L1")
    add(store, "S1", "L1", 0.25, 0.5)
    with store.engine.connect() as connection:
        row = connection.execute(text("SELECT environment_id, scored_at, checksum FROM scores")).one()
        environment = connection.execute(text("SELECT sha256 FROM environments")).scalar()
    told = reference("S1", "L1"), FILE, FINGERPRINT, "locked", 0.25, 0.5, 0.375, environment, row.scored_at, None
    assert row.checksum == hashlib.blake2b(ascii(told).encode(), digest_size=8).hexdigest()


@pytest.mark.parametrize(
    "written",
    [
        f"'{stems.as_text({**EIGHT, 'left_bass': 0.9})}'",
        f"'{json.dumps(EIGHT)}'",
        "NULL",
        "'{'",
        "'[0.5]'",
        "x'00ff'",
        "7",
    ],
)
def test_stems_that_somebody_else_wrote_are_no_score(store: Store, start: Start, tmp_path: Path, written: str) -> None:
    if store.path is None and not written.startswith(("'", "NULL")):
        pytest.skip("PostgreSQL has no other values in a column of text")
    run_id = complete(store, start)
    store.keep_summaries()
    by_hand(store, f"UPDATE scores SET stem_scores = {written} WHERE remix_id = 1")
    pair = store.find_run(run_id).pairs["S1", "L1"]
    assert (pair.score, pair.changed, pair.state) == (None, True, "enhanced")
    assert [run.changed for run in store.runs()] == [("1 score",)]
    # They do not go with an export either, and can be computed again.
    assert store.export(tmp_path / "export.db").refused == 1
    assert store.drop_changed(run_id) == 1
    store_eight(store)
    assert [(run.changed, run.scored) for run in store.runs()] == [((), 4)]


@pytest.mark.parametrize("forged", ['{"left_bass": "loud"}', '{"<b>": 0.5}', '{"left_bass": 1.5}', "[" * 100_000])
def test_a_forged_checksum_over_no_scores_is_damage(store: Store, start: Start, tmp_path: Path, forged: str) -> None:
    run_id = complete(store, start)
    with store.transaction(write=True) as connection:
        checksum = stored_scores(connection, [1])[1, 1, "locked"].checksum(stem_scores=forged)
    by_hand(store, f"UPDATE scores SET stem_scores = '{forged}', checksum = '{checksum}' WHERE remix_id = 1")
    for read in (store.runs, store.whole_runs, lambda: store.find_run(run_id)):
        with pytest.raises(LeaderboardError, match="is damaged"):
            read()
    if store.path is None:
        return
    # It does not spread to other leaderboards.
    with Store.open(f"sqlite:///{tmp_path / 'ours.db'}", create=True) as ours:
        merged = ours.import_(store.path, "")
        assert (merged.scores, merged.refused) == (3, 1)
        assert [run.scored for run in ours.runs()] == [3]


def test_stems_go_where_their_scores_go(store: Store, start: Start, tmp_path: Path) -> None:
    run_id = complete(store, start)
    path = tmp_path / "export.db"
    store.export(path)
    with Store.open(f"sqlite:///{path}", create=True) as copy:
        assert all(pair.locked and pair.locked.stems == EIGHT for pair in copy.find_run(1).pairs.values())
        assert [run.changed for run in copy.runs()] == [()]
        # Theirs has another score for a stem, and the same ears.
        changed = NewScore(FILE, reference("S1", "L1"), "locked", LEFT, RIGHT, True, {**EIGHT, "left_other": 0.125})
        copy.add_scores([changed], FINGERPRINT, {"locked": {}})
    merged = store.import_(path, "")
    assert (merged.scores, merged.known, merged.different, merged.largest_difference) == (0, 3, 1, 0.125)
    locked = store.find_run(run_id).pairs["S1", "L1"].locked
    assert locked is not None
    assert locked.stems == EIGHT
    with Store.open(f"sqlite:///{tmp_path / 'new.db'}", create=True) as new:
        assert new.import_(path, "").scores == 4
        pairs = new.find_run(1).pairs
    assert [pair.locked.stems["left_other"] for pair in pairs.values() if pair.locked and pair.locked.stems] == [
        *(0.125, 0.0, 0.0, 0.0)
    ]


def test_an_audit_leaves_stems_alone(store: Store, start: Start) -> None:
    run_id = complete(store, start)
    store.note_audit(run_id, FINGERPRINT, {("S1", "L1"): False})
    locked = store.find_run(run_id).pairs["S1", "L1"].locked
    assert locked is not None
    assert (locked.stems, locked.disputed_at is None) == (EIGHT, False)
    assert [(run.changed, run.disputed) for run in store.runs()] == [((), 1)]


@on_sqlite
def test_scores_of_the_fifth_revision_stay_intact(store: Store, start: Start, tmp_path: Path) -> None:
    run_id = start()
    mark(store, run_id, "S1", "L1")
    add(store, "S1", "L1", 0.25, 0.5)
    add(store, "S1", "L1", 0.25, 0.5, "fast")
    store.keep_summaries()
    store.close()
    assert store.path is not None
    # The fifth revision is the seventh without some columns and a table.
    by_hand(store, *(f"ALTER TABLE scores DROP COLUMN {name}" for name in COLUMNS_SINCE), "DROP TABLE checks")
    by_hand(store, "UPDATE alembic_version SET version_num = '0005'")
    url = f"sqlite:///{store.path}"
    with pytest.raises(LeaderboardError, match="older version: harness run or harness score brings it up to date"):
        Store.open(url, create=False)
    with Store.open(f"sqlite:///{tmp_path / 'other.db'}", create=True) as other:
        assert other.import_(store.path, "").scores == 2
    with Store.open(url, create=True) as opened:
        assert [(run.changed, run.scored) for run in opened.runs()] == [((), 1)]
        locked = opened.find_run(run_id).pairs["S1", "L1"].locked
        assert locked is not None
        assert (locked.left, locked.stems) == (0.25, None)
        # They are summed up anew, with what is counted since.
        assert count(opened, "summaries") == 0


@on_sqlite
def test_the_fifth_revision_lacks_nothing_but_columns_and_checks(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    engine = sqlite_engine(path, create=True, timeout=1)
    with engine.execution_options(immediate=True, migrate=True).begin() as connection:
        command.upgrade(alembic_config(connection), "0005")
    engine.dispose()
    shapes = []
    for database in (path, store.path):
        assert database is not None
        with closing(sqlite3.connect(database)) as connection:
            shapes.append(set(connection.execute("SELECT type, name FROM sqlite_master")))
    assert shapes[0] < shapes[1]
    assert all("checks" in name for _, name in shapes[1] - shapes[0])


def test_stems_are_shown_by_stem_and_ear() -> None:
    names = ["right_bass", "left_other", "right_vocals", "left_bass", "right_choir", "left_vocals", "left_drums"]
    assert stems.in_order(names) == (
        *("left_vocals", "right_vocals", "left_drums", "left_bass", "right_bass", "left_other", "right_choir"),
    )
