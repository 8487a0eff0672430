"""Dropping what was changed outside the harness, so that it can be computed again."""

from sqlalchemy import Connection, delete, select, update

from harness_leaderboard.costs import costs_of_run
from harness_leaderboard.facts import delete_scores, stored_scores
from harness_leaderboard.keptchecks import delete_checks, stored_checks
from harness_leaderboard.models import PieceCostRow, RunPairRow, SetPairRow
from harness_leaderboard.pairs import pairs_of_run
from harness_leaderboard.rows import forget_summaries, in_parts, write_event


def drop_changed(connection: Connection, run_id: int) -> int:
    """See `store.Store.drop_changed`."""
    files, remixes = [], set()
    for pair in pairs_of_run(connection, run_id, None):
        if pair.changed:
            files.append((pair.scene, pair.listener))
        elif pair.remix_id is not None:
            remixes.add(pair.remix_id)
    scores = [key for key, score in stored_scores(connection, remixes).items() if not score.intact]
    checks = [key for key, check in stored_checks(connection, remixes).items() if not check.intact]
    _, pieces = costs_of_run(connection, run_id)
    # Before and after: what shares files with it changes too.
    forget_summaries(connection, run_id)
    delete_scores(connection, scores)
    delete_checks(connection, checks)
    for scene, listener in files:
        of_pair = select(SetPairRow.id).where(SetPairRow.scene == scene, SetPairRow.listener == listener)
        connection.execute(
            update(RunPairRow)
            .where(RunPairRow.run_id == run_id, RunPairRow.pair_id.in_(of_pair))
            .values(state="pending", reason=None, remix_id=None, clipped=None, checksum=None)
        )
    for part in in_parts(pieces):
        connection.execute(delete(PieceCostRow).where(PieceCostRow.run_id == run_id, PieceCostRow.piece.in_(part)))
    forget_summaries(connection, run_id)
    counts = {"files": len(files), "scores": len(scores), "costs": len(pieces)}
    if checks:
        counts["checks"] = len(checks)
    if any(counts.values()):
        write_event(connection, run_id, "changes dropped", "they were made outside the harness", counts)
    return sum(counts.values())
