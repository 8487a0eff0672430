"""harness runs: the list, and show. What changes runs is in `managing`."""

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness import console
from harness.cli.common import (
    DEFAULT_DATABASE,
    Database,
    Json,
    add_command,
    errors_as_lines,
)

if TYPE_CHECKING:
    from harness_leaderboard.records import PairRecord, RunStatus, ScoredRun, ScoreRecord, StoredRun
    from harness_leaderboard.store import Store

app = typer.Typer(help="List, inspect and manage the runs on a leaderboard.")

Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's number, its name, or its system if that is unique.")]


@app.callback(invoke_without_command=True)
@errors_as_lines
def list_runs(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Removed runs too.")] = False,
    db: Database = DEFAULT_DATABASE,
    as_json: Json = False,
) -> None:
    """List the runs on a leaderboard, hidden ones too. `harness runs COMMAND --help` says how to manage them."""
    if context.invoked_subcommand is not None:
        return
    from harness_leaderboard.store import Store

    with Store.open(db, create=False) as store:
        statuses = [status for status in store.statuses() if everything or status.visibility != "removed"]
        scored = {(run.id, run.fingerprint): run for run in store.runs(("shown", "hidden", "removed"))}
    if as_json:
        console.print_json([_as_json(status, scored.get((status.id, status.fingerprint))) for status in statuses])
        return
    if not statuses:
        console.say("no runs yet: harness run --system NAME")
        return
    from rich.table import Table

    table = Table("run", "called", "on", "pairs", "HAAQI", "", "changed", box=None, pad_edge=False)
    for status in statuses:
        run = scored.get((status.id, status.fingerprint))
        called = status.name or f"{status.run.system} {status.run.version}"
        table.add_row(
            str(status.id),
            console.escape(called if len(called) <= 28 else f"{called[:27]}…"),
            console.escape(status.evaluation_set.name),
            f"{run.scored if run else 0} of {status.evaluation_set.pairs}",
            _mean(run),
            ", ".join(_remarks(status, run)),
            status.updated_at[:10],
        )
    console.out.print(table)


def _remarks(status: "RunStatus", run: "ScoredRun | None") -> list[str]:
    """What is out of the ordinary about a run."""
    remarks = [] if status.visibility == "shown" else [str(status.visibility)]
    if not status.intact or (run is not None and run.changed):
        remarks.append("changed")
    if run is not None and run.disputed:
        remarks.append("disputed")
    return remarks


def _mean(run: "ScoredRun | None") -> str:
    mean = _mean_of(run)
    return "-" if mean is None else f"{mean:.4f}"


def _mean_of(run: "ScoredRun | None") -> float | None:
    return run.sums.totals[2] / run.scored if run and run.scored else None


def _as_json(status: "RunStatus", run: "ScoredRun | None") -> dict[str, Any]:
    return {
        "run": status.id,
        "name": status.name,
        "visibility": status.visibility,
        "evaluation_set": asdict(status.evaluation_set),
        "evaluator": status.fingerprint,
        "declared": status.run.as_json(),
        "created_at": status.created_at,
        "updated_at": status.updated_at,
        "mean": _mean_of(run),
        "scored": run.scored if run else 0,
        "failed": run.failed if run else 0,
        "disputed": run.disputed if run else 0,
        "changed": list(run.changed) if run else [] if status.intact else ["its declaration"],
    }


def find(store: "Store", text: str, evaluation_set: str | None = None) -> "RunStatus":
    """The run that the user means.

    Args:
        store: where it is.
        text: its number, its name, or its system or submission. Runs that have a name are called by that first.
        evaluation_set: hash of the set that it is on, which decides where several runs are called so.

    Raises:
        UsageError: there is none, or there are several.
    """
    from harness.errors import UsageError

    statuses = store.statuses()
    of_it = [
        status
        for status in statuses
        if status.visibility != "removed" and text in (status.run.system, status.run.submission)
    ]
    for found in (
        [status for status in statuses if text.lstrip("#") == str(status.id)],
        [status for status in statuses if status.name == text],
        [status for status in of_it if status.name is None],
        of_it,
    ):
        on_it = [status for status in found if status.evaluation_set.sha256 == evaluation_set]
        if len(found) == 1 or len(on_it) == 1:
            return (on_it or found)[0]
        if found:
            listed = ", ".join(
                f"{status.id} ({status.name or status.run.system} on {status.evaluation_set.name})"
                for status in found[:5]
            )
            raise UsageError(f"several runs are called {text!r}: say which by its number: {listed}")
    raise UsageError(f"no run {text!r}: harness runs lists them")


def show(run: Run, db: Database = DEFAULT_DATABASE, as_json: Json = False) -> None:
    """Show all that is known of a run: declarations, files, environments, checks, failures, its log."""
    from harness_leaderboard.store import Store

    with Store.open(db, create=False) as store:
        status = find(store, run)
        stored = store.find_run(status.id)
        old, events = store.history(status.id)
        environments = store.environments()
        scored = {(each.id, each.fingerprint): each for each in store.runs(("shown", "hidden", "removed"))}
    summed = scored.get((status.id, status.fingerprint))
    if not as_json:
        _show(stored, summed, old, events, environments)
        return
    used = sorted({score.environment_sha256 for score in _scores(stored)})
    console.print_json(
        {
            **_as_json(status, summed),
            "changed": _changed(stored, summed),
            "history": [asdict(each) for each in old],
            "log": [asdict(each) for each in events],
            "environments": {sha256: environments.get(sha256, UNKNOWN) for sha256 in used},
            "parts": summed.parts if summed else 0,
            "in_double": summed.in_double if summed else 0,
            "checked": summed.checked if summed else 0,
            "checked_in_double": summed.checked_in_double if summed else 0,
            "largest_difference": summed.largest_difference if summed else None,
            "cost": _cost(stored),
            "costs": [asdict(cost) for cost in stored.costs],
            "pairs": [_pair_json(pair) for pair in stored.pairs.values()],
        }
    )


def _pair_json(pair: "PairRecord") -> dict[str, Any]:
    """A pair as JSON values; scores of stems, and how a score was computed, only where something is known of that."""
    found = {**asdict(pair), "difference": pair.difference}
    for score in (found["locked"], found["fast"]):
        if score is not None:
            for name in ("stems", "in_double", "margin", "closest"):
                if score[name] is None:
                    del score[name]
    return found


OUTSIDE = "changed outside the harness"
UNKNOWN = {"changed": OUTSIDE}
"""Stands in for an environment that somebody else wrote."""


def _scores(stored: "StoredRun") -> "list[ScoreRecord]":
    """All scores of a run's files, of either engine."""
    return [score for pair in stored.pairs.values() for score in (pair.locked, pair.fast) if score is not None]


def _changed(stored: "StoredRun", summed: "ScoredRun | None") -> list[str]:
    """What of a run was changed outside the harness; what the sums tell of it, the pairs tell in other words."""
    return list((summed.changed if summed else ()) or stored.changed)


def _cost(stored: "StoredRun") -> dict[str, float] | None:
    """What a run cost its system in all; None where nothing was measured."""
    if not stored.costs:
        return None
    return {
        "pieces": len(stored.costs),
        "wall_seconds": math.fsum(cost.wall_seconds for cost in stored.costs),
        "cpu_seconds": math.fsum(cost.cpu_seconds for cost in stored.costs),
        "peak_bytes": max(cost.peak_bytes for cost in stored.costs),
    }


def _show(
    stored: "StoredRun", summed: "ScoredRun | None", old: list[Any], events: list[Any], environments: dict[str, Any]
) -> None:
    from collections import Counter

    from rich.table import Table

    from harness.cli.outcomes import fast_in_words
    from harness_leaderboard import classes
    from harness_leaderboard.checksums import why_changed

    status, declared = stored.status, stored.run
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(no_wrap=True)
    facts.add_column(overflow="fold")

    def fact(name: str, value: object) -> None:
        if value not in (None, "", {}):
            facts.add_row(name, console.escape(str(value)))

    fact("run", f"{status.id}{f' · {status.name}' if status.name else ''} · {status.visibility}")
    fact("system", f"{declared.system} {declared.version}")
    fact("settings", ", ".join(f"{key}={value}" for key, value in declared.settings.items()))
    for name, value in classes.facts(declared):
        fact(name, value)
    for level, value in classes.levels(declared):
        fact(f"look-ahead at {level}", value)
    fact("parameters", "?" if declared.parameters is None else declared.parameters)
    fact("trained on", declared.training_data)
    fact("licence", declared.licence)
    fact("weights", declared.weights_sha256)
    for name in ("not_eligible", "team", "contact", "url", "paper", "description"):
        fact(name.replace("_", " "), getattr(declared, name))
    fact("isolation", declared.isolation)
    fact("python", declared.python)
    fact("files", declared.folder or declared.submission)
    about = status.evaluation_set
    fact("evaluated on", f"{about.name} · {about.split} · {about.sha256[:12]}")
    fact("evaluator", status.fingerprint)
    fact("mean HAAQI", f"{_mean(summed)}, {summed.scored if summed else 0} of {about.pairs} pairs")
    if summed and summed.fast:
        fact("fast engine", f"{summed.fast} pairs; {fast_in_words(summed, summed.parts // summed.fast)}")
    if summed:
        fact("shares files", ", ".join(f"{count} with run {other}" for other, count in sorted(summed.shares.items())))
    if summed and summed.disputed:
        fact("disputed", f"{summed.disputed} scores, by an audit: harness runs rescore {status.id}")
    if tampered := _changed(stored, summed):
        fact("integrity", why_changed(status.id, tampered))
    cost = _cost(stored)
    if cost:
        fact(
            "cost",
            f"{cost['pieces']} pieces of music, {cost['wall_seconds']:.1f} s, {cost['cpu_seconds']:.1f} s of processor "
            f"time, at most {cost['peak_bytes'] / 1e6:.0f} MB of memory",
        )
    fact("created", status.created_at)
    fact("changed", status.updated_at)
    console.out.print(facts)

    hashes = Counter(score.environment_sha256 for score in _scores(stored))
    for sha256, count in hashes.most_common():
        made = environments.get(sha256, UNKNOWN)
        versions = ", ".join(f"{name} {made[name]}" for name in ("python", "numpy", "scipy", "numba") if name in made)
        versions = versions or str(made.get("changed", ""))
        console.out.print(f"environment of {count} scores: {console.escape(versions)}", soft_wrap=True)
    reasons = Counter(pair.reason for pair in stored.pairs.values() if pair.reason)
    for reason, count in reasons.most_common(10):
        console.out.print(f"[red]failed[/red] {count}: {console.escape(reason)}", soft_wrap=True)
    for before in old:
        changed = classes.declared_before(before.run, declared)
        note = "" if before.intact else f" ({OUTSIDE})"
        console.out.print(console.escape(f"declared until {before.replaced_at}: {changed}{note}"), soft_wrap=True)
    for event in events:
        details = ", ".join(f"{name} {value}" for name, value in event.details.items())
        line = " · ".join(filter(None, (event.at, event.what, event.why, details, "" if event.intact else OUTSIDE)))
        console.out.print(console.escape(line), soft_wrap=True)
    console.say("(every pair with its file's hash and scores: --json)")


add_command(app, show)
