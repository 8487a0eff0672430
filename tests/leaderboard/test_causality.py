"""What was found out of a run's causality, on its way in, out and through old databases; and what a class is."""

import csv
import io
import json
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from stored import EVALUATION_SET, FINGERPRINT, LOAD, MEASURED, PAIRS, RUN, STREAMED, WHOLE_PIECE, add, by_hand, mark

from harness_leaderboard import checksums, classes
from harness_leaderboard.database import sqlite_engine
from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.formats import boards_csv, boards_json, boards_latex, notes
from harness_leaderboard.opening import alembic_config
from harness_leaderboard.ranking import boards
from harness_leaderboard.records import Causality, Load, ScoredRun
from harness_leaderboard.rows import statuses
from harness_leaderboard.store import Store

Start = Callable[..., int]
MakeRun = Callable[..., ScoredRun]
LIVE: dict[str, Any] = {"causal": True, "live": True, "chain": "live", "causality": STREAMED, "load": LOAD}


def rows(score: float) -> list[tuple[str, str, str, float, float]]:
    return [(pair.scene, pair.listener, pair.track, score, score) for pair in PAIRS]


class TestClasses:
    @pytest.mark.parametrize(
        ("declared", "class_", "basis"),
        [
            ({}, "non-causal", "declared"),
            ({"causal": True}, "causal", "declared"),
            ({"causal": True, "causality": MEASURED}, "causal", "measured (16 cuts)"),
            ({"causality": WHOLE_PIECE}, "non-causal", "measured (1 cut)"),
            (LIVE, "live", "streamed"),
            ({**LIVE, "live": False}, "causal", "streamed"),
            ({"causal": True, "causality": replace(MEASURED, verdict="none")}, "causal", "declared"),
            ({"causal": True, "causality": replace(STREAMED, verdict="none")}, "causal", "streamed"),
        ],
    )
    def test_of_a_run(self, declared: dict[str, Any], class_: str, basis: str) -> None:
        run = replace(RUN, **declared)
        assert (run.class_, classes.basis(run)) == (class_, basis)

    def test_live_runs_are_among_the_causal_ones(self) -> None:
        runs = [replace(RUN, system=name, **told) for name, told in (("l", LIVE), ("c", {"causal": True}), ("n", {}))]
        found = {wanted: [run.system for run in runs if run.in_class(wanted)] for wanted in ("live", "causal")}
        assert found == {"live": ["l"], "causal": ["l", "c"]}
        assert [run.system for run in runs if run.in_class("non-causal")] == ["n"]


class TestStoring:
    def test_comes_back_as_it_was(self, store: Store, start: Start) -> None:
        run_id = start(**LIVE)
        assert store.find_run(run_id).run == replace(RUN, **LIVE)
        assert start(key="b", causality=MEASURED, causal=True) == 2
        assert store.find_run(2).run.causality == MEASURED
        assert [status.intact for status in store.statuses()] == [True, True]

    def test_what_is_declared_only_is_no_json(self, store: Store, start: Start) -> None:
        start()
        with store.engine.connect() as connection:
            found = connection.execute(text("SELECT live, chain, causality, load FROM runs")).one()
        assert tuple(found) == (0, "baseline", None, None)

    def test_declaring_it_anew_leaves_the_old_in_the_history(self, store: Store, start: Start) -> None:
        run_id = start(causal=True)
        assert start(causal=True) == start(**LIVE) == start(**LIVE) == start(causality=WHOLE_PIECE) == run_id
        old, events = store.history(run_id)
        assert [event.details.get("changed") for event in events] == [
            None,
            ["causality", "chain", "live", "load"],
            ["causal", "causality", "chain", "live", "load"],
        ]
        assert [each.intact for each in old] == [True, True]
        assert Causality.of_json(old[1].run["causality"]) == STREAMED
        now = store.find_run(run_id).run
        assert classes.declared_before(old[0].run, now) == "causal True, causality None"
        assert classes.declared_before(old[1].run, now) == (
            "causal True, live True, chain 'live', causality streamed causal, load 0.44"
        )
        assert classes.declared_before(old[1].run, now, without=("causal", "live", "chain", "load")) == (
            "causality streamed causal"
        )

    @pytest.mark.parametrize(
        "declared",
        [
            {"load": replace(LOAD, cpu_p99=float("nan"))},
            {"load": replace(LOAD, cpu_worst=float("inf"))},
            {"causality": replace(MEASURED, evidence={"noise_db": float("-inf")})},
            {"causality": replace(MEASURED, evidence={"path": Path()})},
            {"live": True, "causal": False},
            {"chain": "other"},
        ],
    )
    def test_what_is_impossible_is_refused(self, store: Store, start: Start, declared: dict[str, Any]) -> None:
        with pytest.raises(LeaderboardError, match=r"finite numbers|refused impossible data"):
            start(**declared)
        assert store.statuses() == []

    def test_the_constraints_hold_whoever_writes(self, store: Store, start: Start) -> None:
        start()
        for change in ("live = true", "chain = 'x'", "live = NULL", "chain = NULL"):
            with pytest.raises(IntegrityError), store.engine.begin() as connection:
                connection.execute(text(f"UPDATE runs SET {change}"))

    @pytest.mark.parametrize(
        "change",
        [
            "live = false",
            "chain = 'baseline'",
            "causality = NULL",
            "load = NULL",
            "causality = replace(causality, '219', '9')",
            "load = replace(load, '0.44', '0.1')",
        ],
    )
    def test_an_edit_by_hand_is_noticed(self, store: Store, start: Start, change: str) -> None:
        run_id = start(**LIVE)
        by_hand(store, f"UPDATE runs SET {change}")
        (found,) = store.runs()
        assert found.changed == ("its declaration",)
        start(**LIVE)
        assert store.find_run(run_id).changed == ()

    @pytest.mark.parametrize(
        "written",
        [
            "{}",
            "[]",
            '"causal"',
            json.dumps({**asdict(STREAMED), "verdict": "live"}),
            json.dumps({**asdict(STREAMED), "look_ahead": "0"}),
            json.dumps({**asdict(STREAMED), "look_ahead": -1}),
            json.dumps({**asdict(STREAMED), "whole_piece": 1}),
            json.dumps({**asdict(STREAMED), "cuts": None}),
            json.dumps({**asdict(STREAMED), "reason": None}),
            json.dumps({**asdict(STREAMED), "evidence": []}),
            json.dumps({**asdict(STREAMED), "more": 1}),
        ],
    )
    def test_what_no_leaderboard_writes_is_one_line(self, store: Store, start: Start, written: str) -> None:
        start(**LIVE)
        with store.engine.begin() as connection:
            connection.execute(text("UPDATE runs SET causality = :written"), {"written": written})
        for read in (store.statuses, store.runs):
            with pytest.raises(LeaderboardError, match="run 1 was changed outside the harness and cannot be read"):
                read()

    def test_a_load_is_checked_like_that(self) -> None:
        good = asdict(LOAD)
        assert Load.of_json({**good, "cpu_worst": 1}) == replace(LOAD, cpu_worst=1)
        for name in good:
            with pytest.raises(ValueError, match=name):
                Load.of_json({**good, name: None})
        for name, value in (("cpu_late", 0.5), ("cpu_p50", -1.0), ("wall_p50", float("nan")), ("block", True)):
            with pytest.raises(ValueError, match=name):
                Load.of_json({**good, name: value})
        with pytest.raises(TypeError, match="no load"):
            Load.of_json({name: value for name, value in good.items() if name != "block"})

    def test_goes_with_the_run_into_another_leaderboard(self, store: Store, start: Start, tmp_path: Path) -> None:
        start(**LIVE)
        start(key="b", causality=WHOLE_PIECE)
        store.export(tmp_path / "export.db")
        with Store.open(f"sqlite:///{tmp_path / 'other.db'}", create=True) as other:
            assert other.import_(tmp_path / "export.db", "").runs == 2
            assert [status.run for status in other.statuses()] == [status.run for status in store.statuses()]
            assert all(status.intact for status in other.statuses())


NEW = ("run_live", "run_chain", "run_causality", "run_load")


def old_checksum(row: Mapping[str, Any]) -> str:
    """What revision 0004 made of a run: today's checksum without what is new."""
    told = {name: value for name, value in row.items() if name not in (*NEW, *checksums.NOT_TOLD)}
    told["run_settings"] = checksums.canonical(told["run_settings"])
    return checksums.of(*sorted(told.items()))


class TestOldDatabases:
    @pytest.fixture
    def old(self, tmp_path: Path) -> Path:
        """A database of revision 0004: a ranked run, and one whose declaration somebody changed."""
        path = tmp_path / "old.db"
        with Store.open(f"sqlite:///{path}", create=True) as store:
            for key, causal in (("a", True), ("b", False)):
                run = replace(RUN, key=key, causal=causal)
                run_id = store.start_run(run, EVALUATION_SET, FINGERPRINT, {"pyclarity": "0.9.0"}, PAIRS)
                for pair in PAIRS:
                    mark(store, run_id, pair.scene, pair.listener)
            for pair in PAIRS:
                add(store, pair.scene, pair.listener, 0.5, 0.6)
            with store.engine.connect() as connection:
                rows = [dict(row._mapping) for row in connection.execute(statuses())]
        engine = sqlite_engine(tmp_path / "0004.db", create=True, timeout=1)
        with engine.execution_options(immediate=True, migrate=True).begin() as connection:
            command.upgrade(alembic_config(connection), "0004")
        engine.dispose()
        with closing(sqlite3.connect(tmp_path / "0004.db")) as database, database:
            database.execute(f"ATTACH '{path}' AS new")
            for (table,) in database.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall():
                names = ", ".join(row[1] for row in database.execute(f"PRAGMA main.table_info({table})"))
                if table != "alembic_version":
                    database.execute(f"INSERT INTO main.{table} ({names}) SELECT {names} FROM new.{table}")
            for row in rows:
                database.execute("UPDATE runs SET checksum = ? WHERE id = ?", (old_checksum(row), row["run_id"]))
            database.execute("UPDATE runs SET parameters = 1 WHERE key = 'b'")
            database.execute("DELETE FROM summaries")
        return tmp_path / "0004.db"

    def test_keep_what_they_declared_and_stay_believed(self, old: Path) -> None:
        with pytest.raises(LeaderboardError, match="older version"):
            Store.open(f"sqlite:///{old}", create=False)
        with Store.open(f"sqlite:///{old}", create=True) as store:
            first, second = store.statuses()
            assert (first.intact, first.run) == (True, replace(RUN, key="a", causal=True))
            assert (first.run.class_, first.run.basis) == ("causal", "declared")
            # What was changed by hand before stays to be seen.
            assert (second.intact, second.run.parameters) == (False, 1)
            (board,) = boards(store.runs())
            assert [(row.rank, row.source.changed) for row in board.rows] == [(1, ()), (None, ("its declaration",))]

    def test_are_taken_into_a_newer_one(self, old: Path, store: Store) -> None:
        merged = store.import_(old, "")
        assert (merged.runs, merged.refused) == (1, 1)
        assert store.statuses()[0].run == replace(RUN, key="a", causal=True)
        with closing(sqlite3.connect(old)) as database:
            assert database.execute("SELECT version_num FROM alembic_version").fetchone() == ("0004",)


class TestWhatIsSaid:
    @pytest.fixture
    def runs(self, scored_run: MakeRun) -> list[ScoredRun]:
        return [
            scored_run(rows(0.9), system="caught", causality=WHOLE_PIECE),
            scored_run(rows(0.8), system="live", **LIVE),
            scored_run(rows(0.7), system="tried", causal=True, causality=MEASURED),
            scored_run(rows(0.6), system="believed", causal=True),
        ]

    def test_to_programs(self, runs: list[ScoredRun]) -> None:
        names = ["system", "class", "basis", "causal", "chain", "verdict", "cuts", "look_ahead", "whole_piece", "delay",
                 "through", "load", "processor"]  # fmt: skip
        found = [tuple(line.values()) for line in boards_json(boards(runs), names)]
        assert found == [
            ("caught", "non-causal", "measured", False, "baseline", "not causal", 1, None, True, 0, None, None, None),
            ("live", "live", "streamed", True, "live", "causal", 2, 219, False, 110, 329, 0.44, "A Processor"),
            ("tried", "causal", "measured", True, "baseline", "causal", 16, 212, False, 0, 212, None, None),
            ("believed", "causal", "declared", True, "baseline", *[None] * 8),
        ]
        table = list(csv.reader(io.StringIO(boards_csv(boards(runs), names))))
        assert table[0] == names
        assert table[2] == ["live", "live", "streamed", "True", "live", "causal", "2", "219", "False", "110", "329",
                            "0.44", "A Processor"]  # fmt: skip

    def test_in_a_paper(self, runs: list[ScoredRun]) -> None:
        text = boards_latex(boards(runs))
        assert r"& live\textdaggerdbl{} &" in text
        assert r"& non-causal\textdagger{} &" in text

    def test_in_words(self) -> None:
        assert dict(classes.facts(replace(RUN, **LIVE))) == {
            "class": "live, streamed",
            "chain": "live",
            "verdict": "causal: streamed in blocks of 110 samples",
            "look-ahead": "219 samples (5.0 ms)",
            "delay": "110 samples (2.5 ms)",
            "through-delay": "329 samples (7.5 ms)",
            "cuts": "2",
            "blocks": "3,210 of 110 samples (2.5 ms)",
            "load, processor time": "p50 0.20, p99 0.44, worst 0.59, 0 late",
            "load, wall clock": "p50 0.21, p99 2.05, worst 3.65, 99 late",
            "processor": "A Processor",
        }
        caught = dict(classes.facts(replace(RUN, causality=WHOLE_PIECE)))
        assert (caught["look-ahead"], caught["through-delay"]) == ("whole piece", "-")
        assert dict(classes.facts(RUN)) == {"class": "non-causal, declared", "chain": "baseline"}
        unsure = replace(MEASURED, verdict="none", reason="two calls differ", look_ahead=None)
        assert dict(classes.facts(replace(RUN, causality=unsure)))["verdict"] == "no verdict: two calls differ"

    def test_thresholds_in_their_order(self) -> None:
        assert classes.levels(replace(RUN, causality=MEASURED)) == [
            ("-140 dB", "219 samples (5.0 ms)"),
            ("-100 dB", "212 samples (4.8 ms)"),
            ("-60 dB", "none seen"),
            ("-40 dB", "70 samples (1.6 ms)"),
        ]
        for odd in ([], "x", {"x": 1}, {"-40": "x"}, None):
            assert classes.levels(replace(RUN, causality=replace(MEASURED, evidence={"levels": odd}))) == []
        assert classes.levels(RUN) == []

    def test_nothing_of_a_stranger_is_read_as_markup(self, scored_run: MakeRun) -> None:
        evil = "[red]\x1b[2J\n</script>"
        (board,) = boards([scored_run(rows(0.9), causality=replace(WHOLE_PIECE, reason=evil))])
        (line,) = (line for line in notes(board) if "not causal" in line)
        assert line.endswith("is not causal: [red]\\x1b[2J </script>")


def test_every_field_of_a_record_is_checked() -> None:
    for kind, example in ((Causality, MEASURED), (Load, LOAD)):
        for each in fields(kind):
            with pytest.raises(ValueError, match=each.name):
                kind.of_json({**asdict(example), each.name: object()})
