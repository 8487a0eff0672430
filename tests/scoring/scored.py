"""What stands in a leaderboard after scoring: rows, pairs and checks; and how it is changed by hand."""

import sqlite3

from stored import seal_scores

from harness_leaderboard.store import Store

SCORES = ("left_score", "right_score", "score")
PAIRS = (
    "FROM run_pairs JOIN set_pairs ON set_pairs.id = run_pairs.pair_id"
    " LEFT JOIN scores f ON f.remix_id = run_pairs.remix_id AND f.engine = 'fast'"
    " LEFT JOIN scores l ON l.remix_id = run_pairs.remix_id AND l.engine = 'locked'"
)
"""Tables of a run's pairs with their scores: f by the fast engine, l by the locked evaluator."""


def board(run_cli, system="passthrough"):
    """The row of a system on the leaderboard."""
    (row,) = [row for row in run_cli("leaderboard", "--json").json if row["system"] == system]
    return row


def checks_in(folder):
    """Scene, listener, part and checker of every stored check."""
    with sqlite3.connect(folder / "leaderboard.db") as database:
        return sorted(
            database.execute(
                "SELECT DISTINCT scene, listener, part, checked_by FROM checks"
                " JOIN run_pairs ON run_pairs.remix_id = checks.remix_id JOIN set_pairs ON set_pairs.id = pair_id"
            )
        )


def pairs_with(folder, condition):
    """Scene and listener of the pairs for which an SQL condition holds; f and l are the engines' scores."""
    with sqlite3.connect(folder / "leaderboard.db") as database:
        return sorted(database.execute(f"SELECT scene, listener {PAIRS} WHERE {condition}"))


def change(folder, *statements):
    """Change scores as if the program had stored others; what it has summed up goes with them."""
    with sqlite3.connect(folder / "leaderboard.db") as database:
        for statement in statements:
            database.execute(*statement)
        database.execute("DELETE FROM summaries")
    with Store.open(f"sqlite:///{folder / 'leaderboard.db'}", create=True) as store:
        seal_scores(store)


def differences(some, others):
    """Largest difference of any score between two lists of rows for the same pairs."""
    assert [(row["scene"], row["listener"]) for row in some] == [(row["scene"], row["listener"]) for row in others]
    return max(abs(one[key] - other[key]) for one, other in zip(some, others, strict=True) for key in SCORES)
