"""Triggers that delete the sums of what is changed.

Whoever changes a score or which file a run has (an UPDATE by hand, say) deletes the sums that it is in: the next to
read the board then reads the scores themselves, and finds their checksums wrong. Revision 0004 makes the `TRIGGERS`;
`postgresql.repair` makes them where an early 0004 made none. Revision 0007 makes those of the table of checks.
"""

HOLDERS = "DELETE FROM summaries WHERE run_id IN (SELECT run_id FROM run_pairs WHERE remix_id = {})"
TRIGGERS = {
    "scores_changed": ("UPDATE ON scores", HOLDERS.format("OLD.remix_id")),
    "scores_moved": ("UPDATE OF remix_id ON scores", HOLDERS.format("NEW.remix_id")),
    "scores_deleted": ("DELETE ON scores", HOLDERS.format("OLD.remix_id")),
    "run_pairs_changed": ("UPDATE ON run_pairs", "DELETE FROM summaries WHERE run_id IN (OLD.run_id, NEW.run_id)"),
    "run_pairs_deleted": ("DELETE ON run_pairs", "DELETE FROM summaries WHERE run_id = OLD.run_id"),
    "remixes_changed": ("UPDATE ON remixes", HOLDERS.format("OLD.id")),
    "set_pairs_changed": ("UPDATE ON set_pairs", "DELETE FROM summaries"),
    "reference_signals_changed": ("UPDATE ON reference_signals", "DELETE FROM summaries"),
    "environments_changed": ("UPDATE ON environments", "DELETE FROM summaries"),
    "evaluators_changed": ("UPDATE ON evaluators", "DELETE FROM summaries"),
}
"""For each trigger the event that it waits for, and what it then does."""

OF_CHECKS = {
    "checks_changed": ("UPDATE ON checks", HOLDERS.format("OLD.remix_id")),
    "checks_moved": ("UPDATE OF remix_id ON checks", HOLDERS.format("NEW.remix_id")),
    "checks_deleted": ("DELETE ON checks", HOLDERS.format("OLD.remix_id")),
}
"""Likewise for checks, a table that came later."""


def creating(name: str, dialect: str) -> list[str]:
    """The statements that create a trigger."""
    event, then = {**TRIGGERS, **OF_CHECKS}[name]
    if dialect == "sqlite":
        return [f"CREATE TRIGGER {name} AFTER {event} BEGIN {then}; END"]
    body = f"BEGIN {then}; RETURN NULL; END"
    return [
        f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS '{body}'",
        f"CREATE TRIGGER {name} AFTER {event} FOR EACH ROW EXECUTE FUNCTION {name}()",
    ]
