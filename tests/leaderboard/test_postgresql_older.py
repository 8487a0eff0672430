"""PostgreSQL databases that earlier versions of the program made keep everything, and get what they lack."""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module

import pytest
from alembic import command
from services.postgresql import PostgreSQL
from sqlalchemy import Connection, event, inspect, text
from stored import EVALUATION_SET, FINGERPRINT, PAIRS, RUN, add, count, mark, on_postgresql

from harness_leaderboard.database import parse_url
from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.migrations import REVISIONS
from harness_leaderboard.migrations.triggers import OF_CHECKS, TRIGGERS
from harness_leaderboard.models import Base
from harness_leaderboard.opening import alembic_config
from harness_leaderboard.postgresql import postgresql_engine
from harness_leaderboard.rows import seal_run
from harness_leaderboard.store import Store

NewUrl = Callable[..., str]

pytestmark = [on_postgresql, pytest.mark.usefixtures("kind", "postgresql")]


def older(new_url: NewUrl, revision: str, then: Callable[[Connection], None] = lambda _connection: None) -> str:
    """A database of an older revision, with rows in it."""
    url = new_url()
    engine = postgresql_engine(parse_url(url), True, 30)
    with engine.execution_options(immediate=True).begin() as connection:
        command.upgrade(alembic_config(connection), revision)
        fill(connection, revision)
        then(connection)
    engine.dispose()
    return url


@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_every_older_revision_is_brought_up_to_date(new_url: NewUrl, revision: str) -> None:
    url = older(new_url, revision)
    with pytest.raises(LeaderboardError, match="older version: harness run or harness score brings it up to date"):
        Store.open(url, create=False)
    with Store.open(url, create=True) as store:
        (run,) = store.runs()
        assert (run.run.system, run.scored, run.sums.totals[0], run.changed) == ("demucs", 1, 0.5, ())
        tables = set(inspect(store.engine).get_table_names()) - {"alembic_version"}
        assert tables == set(Base.metadata.tables)
        assert not [table for table in tables if inspect(store.engine).get_table_names().count(table) > 1]
        # Numbers go on from those that are there.
        assert store.start_run(replace(RUN, key="b"), EVALUATION_SET, FINGERPRINT, {}, PAIRS) == 2


AT = "2024-01-31T12:00:00Z"


def fill(connection: Connection, revision: str) -> None:
    """A run with one score, as a revision stored them."""
    before = revision < "0003"
    statements = [
        "INSERT INTO evaluation_sets (name, split, sha256, scenes, pairs)"
        f" VALUES ('demo', 'valid', '{'e' * 64}', 2, 4)",
        f"INSERT INTO evaluators (fingerprint, details) VALUES ('{FINGERPRINT}', '{{}}')",
        "INSERT INTO environments (sha256, details) VALUES ('0', '{}')",
    ]
    declared = f"'demucs', '4', '{{}}', false, 7, 'official', 'MIT', 'd', NULL, false, 'demucs', '{AT}', '{AT}'"
    names = (
        "system, version, settings, causal, parameters, training_data, licence, weights_sha256, not_eligible,"
        " reference, submission, created_at, updated_at"
    )
    if before:
        engine = ", engine" if revision == "0002" else ""
        statements += [
            f"INSERT INTO runs (key, evaluation_set_id, fingerprint, pairs_due, {names})"
            f" VALUES ('a', 1, '{FINGERPRINT}', 4, {declared})",
            "INSERT INTO pairs (run_id, scene, listener, track, state, file_sha256)"
            " VALUES (1, 'S1', 'L1', 'track one', 'scored', '1')",
            "INSERT INTO scores (pair_id, left_score, right_score, score, fingerprint, environment_id, scored_at"
            f"{engine}) VALUES (1, 0.5, 0.75, 0.625, '{FINGERPRINT}', 1, '{AT}'{engine and ', ' + repr('locked')})",
        ]
    else:
        statements += [
            f"INSERT INTO runs (key, evaluation_set_id, evaluator_id, visibility, {names})"
            f" VALUES ('a', 1, 1, 'shown', {declared})",
            "INSERT INTO reference_signals (sha256) VALUES ('r')",
            "INSERT INTO set_pairs (evaluation_set_id, scene, listener, track, reference_id)"
            " VALUES (1, 'S1', 'L1', 'track one', 1)",
            "INSERT INTO remixes (reference_id, file_sha256) VALUES (1, '1')",
            "INSERT INTO run_pairs (run_id, pair_id, state, remix_id) VALUES (1, 1, 'enhanced', 1)",
            "INSERT INTO scores (remix_id, evaluator_id, engine, left_score, right_score, score, environment_id,"
            f" scored_at) VALUES (1, 1, 'locked', 0.5, 0.75, 0.625, 1, '{AT}')",
        ]
    for statement in statements:
        connection.exec_driver_sql(statement)
    if revision >= "0004":
        seal(connection, revision)


def seal(connection: Connection, revision: str) -> None:
    """Give all rows the checksums that their revision would have given them, by what computed them first."""
    first = import_module("harness_leaderboard.migrations.versions.0004_checksums")
    first._compute(connection, *first.SCORES)
    first._compute(connection, *first.PAIRS)
    if revision >= "0005":
        seal_run(connection, 1)
    for id_, checksum in [] if revision >= "0005" else list(first._runs(connection)):
        connection.execute(text("UPDATE runs SET checksum = :c WHERE id = :i"), {"c": checksum, "i": id_})
    for id_, checksum in list(first._log(connection, "environments")):
        connection.execute(text("UPDATE environments SET checksum = :c WHERE id = :i"), {"c": checksum, "i": id_})


# Databases that early revisions 0003 and 0004 made


def forget(connection: Connection) -> None:
    """Take away what these did not make, and store a run with a number that its sequence did not count."""
    for name, (waits_for, _) in TRIGGERS.items():
        connection.exec_driver_sql(f"DROP TRIGGER {name} ON {waits_for.split()[-1]}")
        connection.exec_driver_sql(f"DROP FUNCTION {name}")
    connection.exec_driver_sql("ALTER SEQUENCE runs_id_seq RESTART")


def triggers(store: Store) -> set[str]:
    with store.engine.connect() as connection:
        found = connection.execute(text("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"))
        return set(found.scalars())


@pytest.mark.parametrize("revision", ["0004", "0005", "0006"])
def test_what_early_revisions_left_out_is_made(new_url: NewUrl, revision: str) -> None:
    url = older(new_url, revision, forget)
    with Store.open(url, create=True) as store:
        assert triggers(store) == {*TRIGGERS, *OF_CHECKS}
        assert store.start_run(replace(RUN, key="b"), EVALUATION_SET, FINGERPRINT, {}, PAIRS) == 2
        store.keep_summaries()
        assert count(store, "summaries") == 2
        with store.transaction(write=True) as connection:
            connection.execute(text("UPDATE scores SET left_score = 0.25, score = 0.5"))
        # The second run has no scores.
        assert count(store, "summaries") == 1


def test_sums_that_nothing_has_deleted_are_not_believed(url: str, store: Store) -> None:
    mark(store, store.start_run(RUN, EVALUATION_SET, FINGERPRINT, {}, PAIRS), "S1", "L1")
    add(store, "S1", "L1", 0.1, 0.2)
    store.keep_summaries()
    with store.transaction(write=True) as connection:
        forget(connection)
        connection.execute(text("UPDATE scores SET left_score = 0.8, score = 0.5"))
    assert count(store, "summaries") == 1
    with Store.open(url, create=True) as other:
        assert count(other, "summaries") == 0
        (run,) = other.runs()
        assert run.changed


def test_a_database_that_lacks_nothing_is_left_as_it_is(url: str, store: Store) -> None:
    store.start_run(RUN, EVALUATION_SET, FINGERPRINT, {}, PAIRS)
    store.keep_summaries()
    done: list[str] = []
    with Store.open(url, create=True) as other:

        @event.listens_for(other.engine, "before_cursor_execute")
        def execute(_: Connection, __: object, statement: str, *___: object) -> None:
            done.append(statement)

        other._look(True)
        assert triggers(other) == {*TRIGGERS, *OF_CHECKS}
    assert done
    assert not [statement for statement in done if statement.startswith(("CREATE", "DELETE FROM summaries"))]


def test_a_guest_works_without(url: str, store: Store, postgresql: PostgreSQL) -> None:
    database = str(store.engine.url.database)
    with store.transaction(write=True) as connection:
        forget(connection)
    guest = f"{database}_guest"
    postgresql.execute(f"CREATE ROLE {guest} LOGIN PASSWORD '{postgresql.password}'")
    try:
        postgresql.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {guest}", database)
        postgresql.execute(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {guest}", database)
        with Store.open(url.replace("harness:", f"{guest}:"), create=True) as theirs:
            assert theirs.start_run(RUN, EVALUATION_SET, FINGERPRINT, {}, PAIRS) == 1
            assert triggers(theirs) == set(OF_CHECKS)
    finally:
        postgresql.execute(f"DROP OWNED BY {guest}; DROP ROLE {guest}", database)
