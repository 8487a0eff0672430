"""What was changed outside the harness costs a run its rank, is never shown as its figures, and can be put right."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from stored import EVALUATION_SET, FILE, FINGERPRINT, OTHER_FILE, PAIRS, RUN, add, by_hand, mark, on_sqlite

from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.facts import stored_scores
from harness_leaderboard.formats import boards_csv, boards_json, boards_markdown, breakdown_json
from harness_leaderboard.models import ScoreRow
from harness_leaderboard.ranking import Row, boards
from harness_leaderboard.records import By, PieceCost
from harness_leaderboard.store import Store

Start = Callable[..., int]

SCORES = {(pair.scene, pair.listener): (0.1 * place, 0.3) for place, pair in enumerate(PAIRS, 1)}


def complete(store: Store, start: Start, file: str = FILE, **declared: object) -> int:
    """A run with a locked score for each pair, and sums that are kept."""
    run_id = start(**declared)
    for (scene, listener), ears in SCORES.items():
        mark(store, run_id, scene, listener, file, clipped=3)
        add(store, scene, listener, *ears, file=file)
    store.keep_summaries()
    return run_id


def row(store: Store, run_id: int = 1) -> Row:
    return next(row for board in boards(store.runs()) for row in board.rows if row.source.id == run_id)


def put_right(store: Store, run_id: int, start: Start) -> None:
    """What `harness runs rescore` does with the store."""
    store.drop_changed(run_id)
    start(run_id=run_id)
    for scene, listener in SCORES:
        mark(store, run_id, scene, listener, clipped=3)
        if store.find_run(run_id).pairs[scene, listener].score is None:
            add(store, scene, listener, *SCORES[scene, listener])
    store.keep_summaries()


BETTER = "UPDATE scores SET left_score = 0.9, score = (0.9 + right_score) / 2 WHERE remix_id = 1"
EDITS = [
    (BETTER, "1 score"),
    ("UPDATE scores SET left_score = left_score + 1e-16, score = score + 5e-17 WHERE remix_id = 4", "1 score"),
    ("UPDATE scores SET scored_at = '2020-01-01T00:00:00Z'", "4 scores"),
    ("UPDATE scores SET engine = 'fast' WHERE remix_id = 2", "1 score"),
    ("UPDATE scores SET checksum = NULL WHERE remix_id = 2", "1 score"),
    ("UPDATE environments SET sha256 = 'x'", "4 scores"),
    ("UPDATE reference_signals SET sha256 = 'x' WHERE id = 3", "1 score"),
    (f"UPDATE remixes SET file_sha256 = '{OTHER_FILE}' WHERE id = 1", "1 file"),
    ("UPDATE remixes SET reference_id = 4, file_sha256 = '1' WHERE id = 1", "1 file"),
    ("UPDATE run_pairs SET remix_id = 2 WHERE pair_id = 1", "1 file"),
    ("UPDATE run_pairs SET clipped = 0", "4 files"),
    ("UPDATE run_pairs SET pair_id = pair_id + 10 WHERE pair_id = 1", None),
    ("UPDATE set_pairs SET track = 'another' WHERE id = 2", "1 file"),
    ("UPDATE set_pairs SET scene = 'S3' WHERE id = 2", "1 file"),
    ("UPDATE runs SET parameters = 1", "its declaration"),
    ("UPDATE runs SET causal = true", "its declaration"),
    ("UPDATE runs SET settings = '{}'", "its declaration"),
    ("UPDATE runs SET visibility = 'shown', created_at = '2020-01-01T00:00:00Z'", "its declaration"),
    ("UPDATE evaluation_sets SET name = 'another'", "its declaration"),
    ("UPDATE summaries SET summary = replace(summary, '0.3', '0.9')", "its sums"),
    ("UPDATE summaries SET summary = '{}'", "its sums"),
    ("UPDATE summaries SET checksum = NULL", "its sums"),
]


@pytest.mark.parametrize(("edit", "what"), EDITS)
def test_an_edit_by_hand_costs_the_rank_until_it_is_put_right(
    store: Store, start: Start, edit: str, what: str | None
) -> None:
    run_id = complete(store, start)
    before = row(store)
    assert before.rank == 1
    if what is None and store.path is None:
        with pytest.raises(IntegrityError, match="fk_run_pairs_pair_id"):
            by_hand(store, edit)
        return
    by_hand(store, edit)
    found = row(store)
    assert found.rank is None
    if what is None:  # the pair is another's now: the run is short of it
        assert found.status == "incomplete"
        return
    assert (found.status, found.source.changed) == ("changed", (what,))
    assert str(found.why_not_ranked).startswith(what)
    assert str(found.why_not_ranked).endswith("changed outside the harness: put that right with harness runs rescore 1")
    if any(table in edit for table in ("evaluation_sets", "set_pairs", "reference_signals", "environments")):
        return  # nothing that scoring a run again could put right
    put_right(store, run_id, start)
    found = row(store)
    assert (found.rank, found.source.changed, found.estimate) == (1, (), before.estimate)
    assert store.find_run(run_id).changed == ()


def test_another_name_of_the_evaluator_is_noticed(store: Store, start: Start) -> None:
    complete(store, start)
    by_hand(store, "UPDATE evaluators SET fingerprint = 'x'")
    assert (row(store).rank, row(store).source.changed) == (None, ("its declaration", "4 scores"))


def test_a_changed_score_counts_as_none_everywhere(store: Store, start: Start, tmp_path: Path) -> None:
    complete(store, start)
    by_hand(store, BETTER)
    pair = store.find_run(1).pairs["S1", "L1"]
    assert (pair.state, pair.score, pair.changed) == ("enhanced", None, True)
    assert store.find_run(1).changed == ("1 pair",)
    made = boards(store.runs())
    assert breakdown_json(made, [By.pair]) == []
    (line,) = boards_json(made)
    assert (line["rank"], line["status"], line["scored"]) == (None, "changed", 3)
    for shown in (boards_csv(made), boards_markdown(made), str(line)):
        assert "1 score was changed outside the harness" in shown
    exported = store.export(tmp_path / "export.db")
    assert (exported.runs, exported.scores, exported.refused) == (1, 3, 1)
    with Store.open(f"sqlite:///{tmp_path / 'export.db'}", create=False) as copy:
        assert (row(copy).scored, row(copy).status) == (3, "incomplete")


def test_damage_that_the_sums_know_nothing_of_is_noticed_when_scores_are_read(store: Store, start: Start) -> None:
    complete(store, start)
    by_hand(store, "DROP TRIGGER scores_changed", BETTER)
    found = row(store)
    # The sums are those of the true scores.
    assert (found.rank, found.source.sums.totals[0]) == (1, sum(left for left, _ in SCORES.values()))
    with pytest.raises(LeaderboardError, match="run 1: 1 score was changed outside the harness: put that right with"):
        breakdown_json(boards(store.runs()), [By.pair])


@pytest.mark.parametrize(
    "loss",
    [
        "DELETE FROM scores WHERE remix_id = 1",
        "DELETE FROM scores WHERE remix_id = 1 AND engine = 'fast'",
        "UPDATE scores SET remix_id = 77 WHERE remix_id = 1",
    ],
)
def test_scores_that_are_gone_while_the_sums_tell_of_them_are_missed(store: Store, start: Start, loss: str) -> None:
    run_id = complete(store, start)
    add(store, "S1", "L1", 0.1, 0.3, "fast")
    store.keep_summaries()
    assert store.find_run(run_id).changed == ()
    by_hand(store, "DROP TRIGGER scores_deleted", "DROP TRIGGER scores_changed", "DROP TRIGGER scores_moved")
    if "77" in loss and store.path is None:
        with pytest.raises(IntegrityError, match="fk_scores_remix_id"):
            by_hand(store, loss)
        return
    by_hand(store, loss)
    assert store.find_run(run_id).changed == ("its scores",)
    with pytest.raises(LeaderboardError, match="run 1: its scores were changed outside the harness"):
        breakdown_json(boards(store.runs()), [By.pair])
    store.drop_changed(run_id)
    assert store.find_run(run_id).changed == ()


def test_a_score_written_by_hand_is_none(store: Store, start: Start) -> None:
    run_id = start()
    mark(store, run_id, "S1", "L1")
    by_hand(
        store,
        "INSERT INTO environments (sha256, details) VALUES ('e', '{}')",
        "INSERT INTO scores (remix_id, evaluator_id, engine, left_score, right_score, score, environment_id, scored_at)"
        " VALUES (1, 1, 'locked', 1.0, 1.0, 1.0, 1, '2024-01-31T12:00:00Z')",
    )
    assert store.find_run(run_id).pairs["S1", "L1"].score is None
    assert row(store).source.changed == ("1 score",)
    # It does not stand in the way of the true one.
    add(store, "S1", "L1", 0.1, 0.3)
    assert store.find_run(run_id).pairs["S1", "L1"].changed is False
    assert row(store).source.sums.totals[0] == 0.1


def test_what_is_changed_is_not_made_good_by_renaming_or_hiding(store: Store, start: Start) -> None:
    run_id = complete(store, start)
    by_hand(store, "UPDATE runs SET parameters = 1")
    store.rename(run_id, "ours", "")
    store.set_visibility(run_id, "hidden", "")
    store.set_visibility(run_id, "unhidden", "")
    assert row(store).source.changed == ("its declaration",)


@on_sqlite
@pytest.mark.parametrize("edit", ["UPDATE runs SET parameters = 'many'", "UPDATE runs SET created_at = x'ff'"])
def test_what_no_run_can_be_is_one_line(store: Store, start: Start, edit: str) -> None:
    complete(store, start)
    by_hand(store, "PRAGMA ignore_check_constraints = ON", edit)
    with pytest.raises(LeaderboardError, match="run 1 was changed outside the harness and cannot be read: put back"):
        store.runs()


def test_imports_refuse_what_was_changed(store: Store, start: Start, tmp_path: Path) -> None:
    for key, edit in (("a", BETTER), ("b", "UPDATE run_pairs SET clipped = 0 WHERE pair_id = 1"), ("c", None)):
        with Store.open(f"sqlite:///{tmp_path / f'{key}.db'}", create=True) as theirs:
            args = (EVALUATION_SET, FINGERPRINT, {}, PAIRS)
            complete(theirs, lambda args=args, **declared: theirs.start_run(RUN, *args))
            by_hand(theirs, edit or "UPDATE runs SET system = 'another'")
    merged = store.import_(tmp_path / "c.db", "")
    assert (merged.runs, merged.scores, merged.refused) == (0, 4, 1)
    by_hand(store, "DELETE FROM scores")
    merged = store.import_(tmp_path / "a.db", "")
    assert (merged.runs, merged.scores, merged.refused) == (1, 3, 1)
    assert row(store).status == "incomplete"
    # A changed score here is none, and theirs takes its place.
    by_hand(store, BETTER.replace("remix_id = 1", "left_score = 0.4"))
    merged = store.import_(tmp_path / "b.db", "")
    assert (merged.runs, merged.scores, merged.refused, merged.known, merged.different) == (0, 2, 1, 2, 0)
    assert (row(store).rank, row(store).source.changed) == (1, ())


def audit(store: Store, run_id: int, **agrees: bool) -> None:
    told = {(name[:2], name[2:]): agreed for name, agreed in agrees.items()}
    store.note_audit(run_id, FINGERPRINT, told, {"pairs": len(told)})


def test_a_disputed_score_costs_the_rank_until_it_is_scored_again(store: Store, start: Start) -> None:
    run_id, other = complete(store, start), complete(store, start, key="b", system="copy")
    audit(store, run_id, S1L1=True, S1L2=False)
    for each in (run_id, other):  # both have the file
        found = row(store, each)
        assert (found.rank, found.status, found.source.disputed) == (None, "disputed", 1)
        assert "1 score differs from what an audit computed" in str(found.why_not_ranked)
        assert str(found.why_not_ranked).endswith(f"harness runs rescore {each}")
    assert [(event.what, event.details) for event in store.history(run_id)[1]][-1] == ("audited", {"pairs": 2})
    # A score that an audit disputes makes way for another, even if it is not said to replace any.
    add(store, "S1", "L2", 0.2, 0.3)
    assert row(store, run_id).rank == 1
    assert store.find_run(run_id).pairs["S1", "L2"].locked.disputed_at is None  # type: ignore[union-attr]


def test_a_later_audit_of_the_same_pair_gives_the_rank_back(store: Store, start: Start, tmp_path: Path) -> None:
    run_id = complete(store, start)
    audit(store, run_id, S1L1=False, S1L2=False)
    audit(store, run_id, S2L1=True, S1L1=True)
    assert row(store).source.disputed == 1
    # It cannot be lifted by hand, and goes where the score goes.
    store.export(tmp_path / "export.db")
    with Store.open(f"sqlite:///{tmp_path / 'export.db'}", create=False) as copy:
        assert row(copy).status == "disputed"
    audit(store, run_id, S1L2=True)
    assert (row(store).rank, row(store).source.changed) == (1, ())
    audit(store, run_id, S1L1=False)
    by_hand(store, "UPDATE scores SET disputed_at = NULL")
    assert row(store).status == "changed"
    with pytest.raises(LeaderboardError, match=r"was changed while it was audited: audit it again"):
        audit(store, run_id, S1L1=True)


def test_a_forged_checksum_is_what_audits_are_for(store: Store, start: Start) -> None:
    run_id = complete(store, start)
    with store.transaction(write=True) as connection:
        score = stored_scores(connection, [1])[1, 1, "locked"]
        better = {"left_score": 0.9, "score": (0.9 + 0.3) / 2}
        forged = {**better, "checksum": score.checksum(**better)}
        connection.execute(ScoreRow.__table__.update().where(ScoreRow.remix_id == 1).values(**forged))  # type: ignore[attr-defined]
    assert (row(store).rank, row(store).source.changed) == (1, ())
    audit(store, run_id, S1L1=False)
    assert row(store).status == "disputed"


def test_a_run_in_the_harness_own_process_is_not_ranked(store: Store, start: Start) -> None:
    run_id = complete(store, start, isolation="in-process", python="3.11.7")
    found = row(store)
    assert (found.rank, found.status) == (None, "not eligible")
    assert found.why_not_ranked == "ran in the harness's own process (--in-process, or handed to harness.evaluate)"
    assert (store.find_run(run_id).run.isolation, store.find_run(run_id).run.python) == ("in-process", "3.11.7")
    for isolation in ("process", "sandbox", None):
        assert start(run_id=run_id, isolation=isolation) == run_id
        assert row(store).rank == 1
    with pytest.raises(LeaderboardError, match="refused impossible data"):
        start(run_id=run_id, isolation="jail")


COSTS = [PieceCost("S1 L1", 1.5, 2.25, 3_000_000_000), PieceCost("a song", 0.1 + 0.2, 0.0, 0)]


def test_costs_are_kept_and_replaced(store: Store, start: Start) -> None:
    run_id, other = start(), start(key="b")
    store.keep_costs(run_id, COSTS)
    assert store.find_run(run_id).costs == tuple(COSTS)
    newer = PieceCost("S1 L1", 1.0, 1.0, 1)
    store.keep_costs(run_id, [newer, PieceCost("x" * 300, 1.0, 1.0, 1)])
    assert store.find_run(run_id).costs == (newer, COSTS[1], PieceCost("x" * 300, 1.0, 1.0, 1))
    assert store.find_run(other).costs == ()
    for bad, says in (
        (PieceCost("", 1.0, 1.0, 1), "has 0 characters, not 1 to 300"),
        (PieceCost("x" * 301, 1.0, 1.0, 1), "has 301 characters"),
        (PieceCost("x", -1.0, 1.0, 1), "cannot have cost"),
        (PieceCost("x", 1.0, float("nan"), 1), "cannot have cost"),
    ):
        with pytest.raises(LeaderboardError, match=says):
            store.keep_costs(other, [COSTS[0], bad])
    assert store.find_run(other).costs == ()
    with pytest.raises(LeaderboardError, match="there is no run 7"):
        store.keep_costs(7, COSTS)


def test_costs_go_with_their_run(store: Store, start: Start, tmp_path: Path) -> None:
    run_id = start()
    store.keep_costs(run_id, COSTS)
    store.export(tmp_path / "export.db")
    store.keep_costs(run_id, [PieceCost("S1 L1", 9.0, 9.0, 9)])
    by_hand(store, "PRAGMA foreign_keys = ON", "DELETE FROM piece_costs WHERE piece = 'a song'")
    store.import_(tmp_path / "export.db", "")
    assert store.find_run(run_id).costs == (PieceCost("S1 L1", 9.0, 9.0, 9), COSTS[1])
    with Store.open(f"sqlite:///{tmp_path / 'export.db'}", create=True) as copy:
        assert copy.find_run(1).costs == tuple(COSTS)
        by_hand(copy, "UPDATE piece_costs SET cpu_seconds = 0")
        assert (copy.find_run(1).costs, copy.find_run(1).changed) == ((COSTS[1],), ("1 piece's costs",))
        assert copy.drop_changed(1) == 1
        assert (copy.find_run(1).costs, copy.find_run(1).changed) == ((COSTS[1],), ())
        by_hand(
            copy,
            "PRAGMA foreign_keys = ON",
            "DELETE FROM run_pairs",
            "DELETE FROM events",
            "DELETE FROM summaries",
            "DELETE FROM runs",
        )
        with copy.engine.connect() as connection:
            assert connection.execute(text("SELECT count(*) FROM piece_costs")).scalar() == 0


@pytest.mark.parametrize("reason", ["a\x00b", "\udc80 is no UTF-8", "\ud800"])
def test_text_that_databases_cannot_hold_is_stored_escaped(store: Store, start: Start, reason: str) -> None:
    run_id = start(system=f"system {reason}")
    store.mark_failed(run_id, {("S1", "L1"): reason})
    store.note(run_id, "noted", reason, {"reason": reason})
    store.keep_costs(run_id, [PieceCost(reason, 1.0, 1.0, 1)])
    escaped = reason.encode("unicode_escape").decode()
    found = store.find_run(run_id)
    assert (found.pairs["S1", "L1"].reason, found.costs[0].piece) == (escaped, escaped)
    assert (found.run.system, found.changed) == (f"system {escaped}", ())
    assert store.history(run_id)[1][-1].why == escaped
    # It is not declared anew for being escaped.
    assert start(system=f"system {reason}") == run_id
    assert store.history(run_id)[0] == []
