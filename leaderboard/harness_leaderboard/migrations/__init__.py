"""How a database comes to have the tables of `harness_leaderboard.models`, step by step (Alembic).

Databases only move forward: a step has `upgrade` and no `downgrade`. To add one, change the models, then with
a database at the newest revision

    import alembic.command
    from harness_leaderboard.opening import alembic_config
    from harness_leaderboard.store import Store
    with Store.open("sqlite:///scratch.db", create=True) as store, store.engine.begin() as connection:
        alembic.command.revision(alembic_config(connection), "what changes", autogenerate=True, rev_id="0008")

check the file that appears in `versions`, write the CHECK constraints into it by hand (Alembic does not see
those), and add the revision to `REVISIONS`. A new column of `runs`, `evaluation_sets` or another table that
`checksums` is about changes checksums: the revision computes them anew where the old ones are right. A table that is
replaced by a copy loses its triggers (`triggers` lists them): the revision makes them again.
"""

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007")
"""Every revision from the oldest to the newest.

A test holds this against the files in `versions`; it is written down here because a database that is up to
date can then be opened without importing Alembic.
"""
