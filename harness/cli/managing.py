"""harness runs rename, hide, unhide, remove, restore, rescore, audit, export, import"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness import console
from harness.cli.common import (
    DEFAULT_DATABASE,
    Data,
    Database,
    Engine,
    EngineOption,
    Json,
    ProtocolOption,
    Split,
    Workers,
    add_command,
    evaluation_set,
    workers_or_default,
)
from harness.cli.runs import Run, find
from harness.cli.runs import app as runs
from harness.files import expanded

__all__ = ["runs"]

if TYPE_CHECKING:
    from harness.music.evaluationset import EvaluationSet
    from harness_leaderboard.records import StoredRun

Reason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why; kept in the run's log.", show_default=False)
]
Submission = Annotated[
    Path | None,
    typer.Option("--submission", metavar="DIR", help="Where the run's files lie, if they were moved."),
]


def rename(
    run: Run,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it; '' takes its name away.")],
    reason: Reason,
    db: Database = DEFAULT_DATABASE,
) -> None:
    """Choose what a run is called on its board."""
    from harness.scoring.entries import checked_name
    from harness_leaderboard.store import Store

    with Store.open(db, create=True) as store:
        status = find(store, run)
        store.rename(status.id, checked_name(name) if name else None, reason)
        console.say(f"run {status.id} is called {name!r}" if name else f"run {status.id} has no name of its own")


def _set_visibility(run: str, what: str, reason: str, db: str, yes: bool = True) -> None:
    from harness_leaderboard.store import Store

    with Store.open(db, create=True) as store:
        status = find(store, run)
        if not yes:
            label = f"run {status.id} ({status.run.system} {status.run.version}, {status.evaluation_set.name})"
            typer.confirm(f"remove {label}?", abort=True, err=True)
        store.set_visibility(status.id, what, reason)
        console.say(f"run {status.id} ({status.run.system} {status.run.version}) is {what}")


def hide(run: Run, reason: Reason, db: Database = DEFAULT_DATABASE) -> None:
    """Take a run off its board; its scores stay."""
    _set_visibility(run, "hidden", reason, db)


def unhide(run: Run, reason: Reason, db: Database = DEFAULT_DATABASE) -> None:
    """Show a hidden run again."""
    _set_visibility(run, "unhidden", reason, db)


def remove(
    run: Run,
    reason: Reason,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    db: Database = DEFAULT_DATABASE,
) -> None:
    """Remove a run from its board and from the list. `restore` brings it back: scores and log are kept."""
    _set_visibility(run, "removed", reason, db, yes)


def restore(run: Run, reason: Reason, db: Database = DEFAULT_DATABASE) -> None:
    """Bring a removed run back (see: harness runs --all)."""
    _set_visibility(run, "restored", reason, db)


def rescore(
    run: Annotated[str | None, typer.Argument(metavar="[RUN]", help="The run; or --all.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every run on the evaluation set that is shown.")] = False,
    submission: Submission = None,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; kept in the run's log.", show_default=False)
    ] = "",
    data: Data = None,
    split: Split = None,
    protocol: ProtocolOption = None,
    engine: EngineOption = Engine.locked,
    workers: Workers = None,
    db: Database = DEFAULT_DATABASE,
) -> None:
    """Score runs with the present evaluator or another engine, from the files that they were entered with.

    Files that have such a score already are not scored again, unless an earlier version of the fast engine gave it or
    an audit disputes it. What was changed outside the harness is dropped first.
    Exit code: 0 every pair is scored, 1 some are not, 2 it could not start.
    """
    from harness.cli.scoring import score_entries
    from harness.compute.local import LocalProcesses
    from harness.errors import HarnessError, UsageError
    from harness.scoring.run import Entry
    from harness.submission.validation import judge
    from harness_leaderboard.store import Store

    if (run is None) == (not everything):
        raise UsageError("name a run, or give --all")
    if submission is not None and everything:
        raise UsageError("--submission goes with one run")
    with Store.open(db, create=True) as store:
        found = evaluation_set(data, split, protocol=protocol)
        shown = [status for status in store.statuses() if status.visibility == "shown"]
        chosen = shown if run is None else [find(store, run)]
        if run is not None and chosen[0].evaluation_set.sha256 != found.sha256:
            raise UsageError(
                f"run {chosen[0].id} is on the evaluation set {chosen[0].evaluation_set.name}: "
                "say where that lies with --data ROOT"
            )
        chosen = [each for each in chosen if each.evaluation_set.sha256 == found.sha256]
        entries, missing = [], 0
        for status in chosen:
            folder = submission or Path(status.run.folder or "")
            try:
                if not status.run.folder and submission is None:
                    raise UsageError("where its files lie is not known: name their folder with --submission")
                if not folder.is_dir():
                    raise UsageError(f"its files are not in {folder} any more: name their folder with --submission")
                verdict = judge(folder, found, found.pairs, workers_or_default(workers))
                _keep_known(store.find_run(status.id), verdict, found)
                dropped = store.drop_changed(status.id)
                if dropped:
                    console.warn(f"run {status.id}: {dropped} entries were changed outside the harness and are dropped")
                entries.append(Entry(verdict, run_id=status.id))
            except HarnessError as error:
                if run is not None:
                    raise UsageError(f"run {status.id}: {error}") from None
                missing += 1
                console.warn(f"run {status.id} is left out: {error}")
        executor = LocalProcesses(workers_or_default(workers))
        scored = score_entries(store, entries, found, engine, executor, anew=True) if entries else []
        for result in scored:
            store.note(result.run_id, "rescored", reason, {"engine": engine.value})
            console.say(f"run {result.run_id}: {len(result.rows)} pairs scored, {len(result.failures)} not")
    raise typer.Exit(1 if missing or any(result.failures for result in scored) else 0)


def _keep_known(stored: "StoredRun", verdict: Any, found: "EvaluationSet") -> None:
    """Leave of a judged folder only the files that the run was entered with: what has changed since is another's."""
    from harness.errors import SubmissionError

    pairs = {pair.id: pair for pair in found.all_pairs}
    verdict.problems.clear()
    # Which files a pair had is not known where that was changed outside the harness: those that are there count.
    other = [
        pairs[pair_id]
        for pair_id, record in stored.pairs.items()
        if verdict.content(pairs[pair_id]) != record.file_sha256 and not (record.changed and not record.file_sha256)
    ]
    changed = [pair for pair in other if stored.pairs[pair.id].file_sha256]
    if changed:
        several = len(changed[0].files) > 1
        which = f"those of {' for '.join(changed[0].id)}" if several else changed[0].remix_name
        raise SubmissionError(
            f"{len(changed)} of its {'pairs have files that' if several else 'files'} are missing in {verdict.folder} "
            f"or have changed, {which} for one: "
            "score the folder as a submission of its own (harness score)"
        )
    not_its = {name for pair in other for name in pair.files}
    verdict.hashes = {name: sha256 for name, sha256 in verdict.hashes.items() if name not in not_its}


def audit(
    run: Run,
    sample: Annotated[
        int | None,
        typer.Option("--sample", metavar="N", min=1, help="Only N pairs, drawn at random.", show_default="all"),
    ] = None,
    submission: Submission = None,
    data: Data = None,
    split: Split = None,
    protocol: ProtocolOption = None,
    workers: Workers = None,
    db: Database = DEFAULT_DATABASE,
    as_json: Json = False,
) -> None:
    """Score a run again with the locked evaluator, and compare with what is stored.

    A run with scores that come out otherwise has no rank until it is scored again (`rescore`), or an audit of the same
    pairs agrees. Nothing else is changed. The database file is checked as a whole.
    Exit code: 0 the scores are those stored, 1 some are not or could not be computed, 2 it could not start.
    """
    from harness.compute.local import LocalProcesses
    from harness.errors import UsageError
    from harness.haaqi import lock
    from harness.scoring import auditing
    from harness_leaderboard.checksums import why_changed
    from harness_leaderboard.store import Store

    with Store.open(db, create=True) as store:
        store.check()
        status = find(store, run)
        found = evaluation_set(data, split, protocol=protocol)
        stored = store.find_run(status.id, lock.fingerprint(found.protocol))
        chosen = auditing.sample(stored, sample)
        if stored.changed and not chosen:
            raise UsageError(f"run {status.id}: {why_changed(status.id, stored.changed)}")
        with console.progress(
            f"Auditing run {status.id}", len(chosen), "pairs", workers_or_default(workers)
        ) as advance:
            result = auditing.audit(
                stored,
                submission or Path(status.run.folder or status.run.submission),
                found,
                chosen,
                LocalProcesses(workers_or_default(workers)),
                advance,
            )
        outcome = {
            "pairs": len(chosen),
            "largest_difference": result.largest_difference,
            "disputed": len(result.disputed),
            "unscored": len(result.unscored),
            "changed": len(stored.changed),
        }
        agrees = {pair_id: pair_id not in result.disputed for pair_id in result.compared}
        store.note_audit(status.id, lock.fingerprint(found.protocol), agrees, outcome)
        passed = result.passed and not stored.changed
    if as_json:
        lines = [
            {"scene": scene, "listener": listener, "difference": difference, "engine": engine}
            for (scene, listener), (difference, engine) in result.compared.items()
        ]
        console.print_json({"run": status.id, "passed": passed, **outcome, "compared": lines})
    else:
        if stored.changed:
            console.warn(f"run {status.id}: {why_changed(status.id, stored.changed)}")
        for kind, problems in (("differs", result.disputed), ("not scored", result.unscored)):
            for (scene, listener), words in problems.items():
                line = console.escape(f"{scene} {listener}: {words}")
                console.err.print(f"[red]{kind}:[/red] {line}", soft_wrap=True)
        if result.largest_difference is not None:
            console.say(
                f"run {status.id}: {len(result.compared)} of {len(chosen)} pairs scored again, "
                f"largest difference {result.largest_difference:.1e}"
            )
    raise typer.Exit(0 if passed else 1)


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write; it must not exist.")],
    db: Database = DEFAULT_DATABASE,
) -> None:
    """Write a copy of the leaderboard into one file, which `import` reads: an SQLite database."""
    from harness_leaderboard.store import Store

    with Store.open(db, create=False) as store:
        merged = store.export(expanded(str(file), "FILE"))
    console.say(f"{file}: {merged.runs} runs, {merged.scores} scores, {merged.checks} checks")
    _warn_of_refused(merged.refused)


def _warn_of_refused(count: int) -> None:
    if count:
        entries = "1 entry was" if count == 1 else f"{count} entries were"
        console.warn(f"{entries} changed outside the harness and left out: harness runs lists such runs as changed")


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Another leaderboard: an export, or its database.")],
    reason: Reason,
    db: Database = DEFAULT_DATABASE,
    as_json: Json = False,
) -> None:
    """Merge another leaderboard into this one. Its scores are believed; where both contradict, ours stay.

    Scores, files and runs that were changed outside the harness are left out.
    Exit code: 0 merged, 1 some were left out, some scores of files that both have differ, or it could not be read.
    """
    from harness_leaderboard.store import Store

    with Store.open(db, create=True) as store:
        merged = store.import_(expanded(str(file), "FILE"), reason)
    if as_json:
        console.print_json(asdict(merged))
    else:
        console.say(f"{file}: {merged.runs} new runs, {merged.scores} new scores, {merged.known} already present")
        if merged.checks:
            console.say(f"{file}: {merged.checks} new checks of fast scores")
        _warn_of_refused(merged.refused)
        if merged.files_kept:
            console.warn(f"{merged.files_kept} pairs have another file here: ours stay")
        if merged.different:
            console.warn(
                f"{merged.different} scores differ from ours, by up to {merged.largest_difference:.1e}: ours stay; "
                "harness runs audit RUN shows who is right"
            )
    raise typer.Exit(1 if merged.different or merged.refused else 0)


for _command in (rename, hide, unhide, remove, restore, rescore, audit, export):
    add_command(runs, _command)
add_command(runs, import_, "import")
