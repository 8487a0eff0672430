"""harness run, enhance, validate, score"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness import console
from harness.cli.common import (
    DEFAULT_DATABASE,
    Data,
    Database,
    Json,
    Limit,
    Overwrite,
    PluginSources,
    Scenes,
    Split,
    Workers,
    evaluation_set,
    load_plugins,
    workers_or_default,
)

if TYPE_CHECKING:
    from harness.evaluationset import EvaluationSet, PairId
    from harness.pipeline import Enhancement
    from harness.scoring import Scored
    from harness.systems import System
    from harness.validation import Verdict
    from leaderboard.store import Store

SHOWN = 10
"""Problems that are printed one by one; --json has them all."""

SystemName = Annotated[str, typer.Option("--system", metavar="NAME", help="The system to run (see: harness systems).")]
Options = Annotated[
    list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="A setting of the system. May be repeated.")
]
Output = Annotated[
    Path | None, typer.Option("--output", metavar="DIR", help="The submission.  [default: submissions/NAME]")
]
OverwriteOption = Annotated[
    Overwrite,
    typer.Option("--overwrite", help="A submission that is there: leave it alone, add what it lacks, or replace it."),
]
SoftClip = Annotated[bool, typer.Option("--soft-clip", help="Pass remixes through tanh before they are clipped.")]


def run(
    system: SystemName,
    option: Options = None,
    output: Output = None,
    data: Data = None,
    split: Split = None,
    scenes: Scenes = None,
    limit: Limit = None,
    overwrite: OverwriteOption = Overwrite.missing,
    soft_clip: SoftClip = False,
    workers: Workers = None,
    db: Database = DEFAULT_DATABASE,
    plugin: PluginSources = None,
    as_json: Json = False,
) -> None:
    """Run a system: enhance, validate, score, store, and show the leaderboard.

    Goes on where it stopped if it is run again. Exit code: 0 every pair is scored, 1 some are not,
    2 it could not start.
    """
    from harness.haaqi import lock
    from harness.validation import judge
    from leaderboard.store import Store

    chosen = load_plugins(plugin).system(system)
    ready = _set_up(chosen, option)
    with Store.open(db, create=True) as store:
        # Everything that could stop the work is looked at before the work starts.
        found = _music(evaluation_set(data, split, scenes, limit), stems=True)
        lock.ensure_locked()
        folder, count = _folder(ready, output), workers_or_default(workers)
        enhancement = _enhance(ready, found, folder, overwrite, soft_clip, count)
        failed = enhancement.failures
        present = [pair for pair in found.pairs if pair.id not in failed]
        with console.progress("Validating", len(present), "remixes") as advance:
            verdict = judge(folder, found, present, count, lambda name: advance(1, name))
        _complain(verdict)
        problems = {problem.file: problem.message for problem in verdict.problems}
        invalid = {pair.id: problems[pair.remix_name] for pair in present if pair.remix_name in problems}
        replace = overwrite is Overwrite.always
        scored = _score(store, verdict, found, {**failed, **invalid}, replace, count)
        if as_json:
            console.print_json({**_as_json(verdict, found, scored), "clipping": _clipping(enhancement, found)})
        else:
            _show_enhancement(enhancement, found, folder)
            _show_scores(verdict, scored, store, found)
    raise typer.Exit(1 if scored.failures or verdict.problems else 0)


def enhance(
    system: SystemName,
    option: Options = None,
    output: Output = None,
    data: Data = None,
    split: Split = None,
    scenes: Scenes = None,
    limit: Limit = None,
    overwrite: OverwriteOption = Overwrite.missing,
    soft_clip: SoftClip = False,
    workers: Workers = None,
    plugin: PluginSources = None,
    as_json: Json = False,
) -> None:
    """Run a system and write its submission; nothing is scored.

    Exit code: 0 every remix is there, 1 some are not, 2 it could not start.
    """
    from harness.systems import Reference

    chosen = load_plugins(plugin).system(system)
    ready = _set_up(chosen, option)
    found = _music(evaluation_set(data, split, scenes, limit), stems=issubclass(chosen, Reference))
    folder = _folder(ready, output)
    result = _enhance(ready, found, folder, overwrite, soft_clip, workers_or_default(workers))
    if as_json:
        console.print_json(
            {
                "submission": str(folder),
                "system": result.manifest.system,
                "evaluation_set": _set_as_json(found),
                "made": len(result.made),
                "kept": len(result.kept),
                "failures": _failures_as_json(result.failures),
                "clipping": _clipping(result, found),
            }
        )
    else:
        _show_enhancement(result, found, folder)
    raise typer.Exit(1 if result.failures else 0)


def validate(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="A submission, or a folder of submissions.")],
    data: Data = None,
    split: Split = None,
    scenes: Scenes = None,
    limit: Limit = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Judge submissions; every problem is reported.

    Exit code: 0 all are valid, 1 some are not, 2 some could not be judged.
    """
    from harness.errors import HarnessError
    from harness.validation import judge, submissions_in

    folders = [folder for path in paths for folder in submissions_in(path)]
    verdicts: list[Verdict | tuple[Path, str]] = []
    for folder in folders:
        try:
            found = _evaluation_set_of(folder, data, split, scenes, limit)
            found.check_music([])
            with console.progress(f"Validating {folder}", len(found.pairs), "remixes") as advance:
                verdicts.append(
                    judge(folder, found, workers=workers_or_default(workers), advance=lambda name: advance(1, name))
                )
        except HarnessError as error:
            verdicts.append((folder, str(error)))
    if as_json:
        console.print_json([_verdict_as_json(verdict) for verdict in verdicts])
    else:
        for verdict in verdicts:
            _show_verdict(verdict)
    if any(isinstance(verdict, tuple) for verdict in verdicts):
        raise typer.Exit(2)
    raise typer.Exit(0 if all(verdict.valid for verdict in verdicts) else 1)  # type: ignore[union-attr]


def score(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The submission.")],
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Also write the scores there.")] = None,
    data: Data = None,
    split: Split = None,
    scenes: Scenes = None,
    limit: Limit = None,
    workers: Workers = None,
    db: Database = DEFAULT_DATABASE,
    as_json: Json = False,
) -> None:
    """Score a finished submission, store the scores, and show the leaderboard.

    The submission must be valid. Exit code: 0 every pair is scored, 1 it is not valid or some pairs could not be
    scored, 2 it could not start.
    """
    from harness.errors import SubmissionError, UsageError
    from harness.haaqi import lock
    from harness.scoring import write_csv
    from harness.validation import judge
    from leaderboard.store import Store

    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    with Store.open(db, create=True) as store:
        found = _music(_evaluation_set_of(folder, data, split, scenes, limit), stems=True)
        lock.ensure_locked()
        count = workers_or_default(workers)
        with console.progress("Validating", len(found.pairs), "remixes") as advance:
            verdict = judge(folder, found, workers=count, advance=lambda name: advance(1, name))
        if not verdict.valid:
            if as_json:
                console.print_json([_verdict_as_json(verdict)])
            else:
                _show_verdict(verdict)
            raise SubmissionError(f"{folder} is not valid, so it is not scored: mend it (harness validate {folder})")
        scored = _score(store, verdict, found, {}, False, count)
        if csv is not None:
            write_csv(csv, scored.rows)
        if as_json:
            console.print_json(_as_json(verdict, found, scored))
        else:
            _show_scores(verdict, scored, store, found)
    raise typer.Exit(1 if scored.failures else 0)


# What the commands are made of


def _set_up(system: "type[System]", option: list[str] | None) -> "System":
    """Make a system with the settings of the command line and have it load its weights."""
    from harness.errors import HarnessError, SystemFailure
    from harness.systems import parse_options

    settings = parse_options(system, option or [])
    try:
        ready = system(**settings)
        console.say(f"setting up {system.name} {ready.version} ...")
        ready.load()
        not_eligible = ready.not_eligible
    except HarnessError:
        raise
    except (Exception, SystemExit) as error:  # a stranger's code, or a library that exits
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise SystemFailure(f"system {system.name} could not be set up: {reason}") from error
    if not_eligible:
        console.warn(f"{system.name} is not eligible for ranking: {not_eligible}")
    return ready


def _music(found: "EvaluationSet", stems: bool) -> "EvaluationSet":
    """The same evaluation set, after a look at all the music that is needed."""
    from harness.challenge import STEMS

    found.check_music(STEMS if stems else [])
    return found


def _folder(system: "System", output: Path | None) -> Path:
    return output.expanduser() if output else Path("submissions") / system.name


def _evaluation_set_of(
    folder: Path, data: str | None, split: str | None, scenes: str | None, limit: int | None
) -> "EvaluationSet":
    """The evaluation set to judge a submission with; without --data, the embedded one, if it is for that."""
    from harness.errors import SubmissionError, UsageError
    from harness.submission import read_manifest

    found = evaluation_set(data, split, scenes, limit)
    if data is not None:
        return found
    try:
        manifest = read_manifest(folder)
    except SubmissionError:
        return found  # judging it says what is wrong with its manifest
    if manifest is not None and not manifest.is_for(found):
        declared = manifest.evaluation_set
        raise UsageError(
            f"{folder} is for the evaluation set {declared.name}: say where that lies with "
            f"--data ROOT --split {declared.split}"
        )
    if manifest is None and not any((folder / pair.remix_name).is_file() for pair in found.all_pairs):
        raise UsageError(
            f"{folder} has no manifest and nothing of the embedded evaluation set: say what it is for with --data ROOT"
        )
    return found


def _enhance(
    system: "System", found: "EvaluationSet", folder: Path, overwrite: Overwrite, soft_clip: bool, workers: int
) -> "Enhancement":
    from harness.pipeline import enhance as enhance_all

    with console.progress(f"Enhancing with {system.name}", len(found.pairs), "remixes") as advance:
        return enhance_all(
            system,
            found,
            folder,
            overwrite=overwrite.value,
            soft_clip=soft_clip,
            workers=workers,
            advance=advance,
        )


def _score(
    store: "Store",
    verdict: "Verdict",
    found: "EvaluationSet",
    failures: "Mapping[PairId, str]",
    replace: bool,
    workers: int,
) -> "Scored":
    from contextlib import ExitStack

    from harness.scoring import store_and_score

    with ExitStack() as stack:
        bar: list[console.Advance] = []

        def started(todo: int, scored_already: int) -> None:
            if scored_already:
                console.say(f"{scored_already} pairs are scored already")
            if todo:
                bar.append(stack.enter_context(console.progress("Scoring", todo, "pairs")))

        return store_and_score(
            store,
            verdict,
            found,
            failures=failures,
            replace=replace,
            workers=workers,
            started=started,
            advance=lambda count, what: bar[0](count, what),
        )


def _clipping(result: "Enhancement", found: "EvaluationSet") -> dict[str, Any]:
    """How much of the selected files is clipped."""
    from harness.challenge import PROTOCOL

    samples: dict[str, int] = {}
    clipped: Counter[str] = Counter()
    for pair in found.pairs:
        record = result.manifest.files.get(pair.remix_name)
        if record is not None and record.clipped is not None:
            samples[pair.remix_name] = 2 * PROTOCOL.remix_frames(pair.scene.frames)[-1]
            clipped[pair.remix_name] = record.clipped
    share = {name: clipped[name] / samples[name] for name in samples}
    worst = max(share, key=lambda name: share[name], default=None)
    return {
        "files": len(samples),
        "clipped_files": sum(count > 0 for count in clipped.values()),
        "clipped_samples": clipped.total(),
        "share": clipped.total() / sum(samples.values()) if samples else 0.0,
        "worst_file": worst,
        "worst_share": share[worst] if worst else 0.0,
    }


def _show_enhancement(result: "Enhancement", found: "EvaluationSet", folder: Path) -> None:
    console.say(f"{folder}: {len(result.made)} remixes written, {len(result.kept)} were there already")
    clipping = _clipping(result, found)
    if clipping["clipped_files"]:
        console.say(
            f"clipping: {clipping['clipped_files']} of {clipping['files']} files, {clipping['share']:.1%} of all "
            f"samples; most in {clipping['worst_file']} ({clipping['worst_share']:.1%})"
        )
    else:
        console.say("clipping: none")
    _show_failures(result.failures)


def _show_failures(failures: "Mapping[PairId, str]") -> None:
    for (scene_id, listener_id), reason in list(failures.items())[:SHOWN]:
        console.err.print(f"[red]failed:[/red] {scene_id} {listener_id}: {console.escape(reason)}", soft_wrap=True)
    if failures:
        more = f", {len(failures) - SHOWN} not shown" if len(failures) > SHOWN else ""
        console.say(f"{len(failures)} pairs failed{more}; run the same command again to retry them")


def _complain(verdict: "Verdict") -> None:
    for problem in verdict.problems[:SHOWN]:
        console.warn(f"{verdict.folder}: {problem.file} {problem.message}")
    if len(verdict.problems) > SHOWN:
        console.warn(f"{verdict.folder}: {len(verdict.problems) - SHOWN} more problems (harness validate)")


def _show_verdict(verdict: "Verdict | tuple[Path, str]") -> None:
    from rich.table import Table

    if isinstance(verdict, tuple):
        console.out.print(f"{verdict[0]}: [yellow]not judged[/yellow]: {console.escape(verdict[1])}", soft_wrap=True)
        return
    if verdict.valid:
        console.out.print(f"{verdict.folder}: [green]valid[/green], {len(verdict.hashes)} remixes", soft_wrap=True)
        return
    count = len(verdict.problems)
    console.out.print(f"{verdict.folder}: [red]not valid[/red], {count} problem{'s' * (count != 1)}", soft_wrap=True)
    table = Table("file", "problem", box=None, pad_edge=False)
    table.columns[0].overflow = "fold"
    for problem in verdict.problems:
        table.add_row(console.escape(problem.file or "(the submission)"), console.escape(problem.message))
    console.out.print(table)


def _verdict_as_json(verdict: "Verdict | tuple[Path, str]") -> dict[str, Any]:
    if isinstance(verdict, tuple):
        return {"submission": str(verdict[0]), "verdict": "not judged", "reason": verdict[1], "problems": []}
    return {
        "submission": str(verdict.folder),
        "verdict": "valid" if verdict.valid else "not valid",
        "remixes": len(verdict.hashes),
        "problems": [{"file": problem.file, "message": problem.message} for problem in verdict.problems],
    }


def _set_as_json(found: "EvaluationSet") -> dict[str, Any]:
    return {"name": found.name, "split": found.split, "mixtures_sha256": found.mixtures_sha256}


def _failures_as_json(failures: "Mapping[PairId, str]") -> list[dict[str, str]]:
    return [{"scene": scene, "listener": who, "reason": reason} for (scene, who), reason in failures.items()]


def _mean(scored: "Scored", column: str) -> float | None:
    from statistics import fmean

    return fmean(float(row[column]) for row in scored.rows) if scored.rows else None


def _as_json(verdict: "Verdict", found: "EvaluationSet", scored: "Scored") -> dict[str, Any]:
    from harness.haaqi import lock

    return {
        "submission": str(verdict.folder),
        "run": scored.key,
        "evaluation_set": {**_set_as_json(found), "sha256": found.sha256},
        "evaluator": lock.fingerprint(),
        "pairs": len(found.pairs),
        "scored": len(scored.rows),
        "mean": _mean(scored, "score"),
        "left": _mean(scored, "left_score"),
        "right": _mean(scored, "right_score"),
        "failures": _failures_as_json(scored.failures),
        "scores": scored.rows,
    }


def _show_scores(verdict: "Verdict", scored: "Scored", store: "Store", found: "EvaluationSet") -> None:
    _show_failures(scored.failures)
    if scored.rows:
        mean, left, right = (_mean(scored, column) for column in ("score", "left_score", "right_score"))
        console.say(
            f"{verdict.folder}: mean HAAQI {mean:.4f} (left {left:.4f}, right {right:.4f}), "
            f"{len(scored.rows)} of {len(found.pairs)} pairs"
        )
    from harness.cli.show import print_boards

    print_boards(store, only=found.sha256)
