"""harness run, enhance, validate, score"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness import console
from harness.cli import outcomes
from harness.cli.common import (
    DEFAULT_DATABASE,
    Data,
    Database,
    Engine,
    EngineOption,
    Json,
    Limit,
    Overwrite,
    PluginSources,
    Scenes,
    Split,
    Workers,
    evaluation_set,
    given,
    load_plugins,
    workers_or_default,
)
from harness.cli.leaderboard import print_boards
from harness.cli.scoring import score_entries

if TYPE_CHECKING:
    from harness.making.make import Enhancement
    from harness.music.evaluationset import EvaluationSet, Pair
    from harness.submission.validation import Verdict
    from harness.systems import System

SystemName = Annotated[str, typer.Option("--system", metavar="NAME", help="The system to run (see: harness systems).")]
Options = Annotated[
    list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="A setting of the system. May be repeated.")
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        metavar="DIR",
        callback=given,
        show_default="submissions/ and the system's name",
        help="The folder of the submission.",
    ),
]
RunName = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", callback=given, help="What to call this run on the leaderboard."),
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
    name: RunName = None,
    data: Data = None,
    split: Split = None,
    scenes: Scenes = None,
    limit: Limit = None,
    overwrite: OverwriteOption = Overwrite.missing,
    soft_clip: SoftClip = False,
    engine: EngineOption = Engine.locked,
    workers: Workers = None,
    db: Database = DEFAULT_DATABASE,
    plugin: PluginSources = None,
    as_json: Json = False,
) -> None:
    """Run a system: enhance, validate, score, store, and show the leaderboard.

    After an interruption, the same command resumes the run.

    Exit code: 0 every pair is scored, 1 some are not, 2 it could not start.
    """
    from harness.haaqi import lock
    from harness.scoring.run import Entry
    from harness.systems import parse_options
    from harness_leaderboard.store import Store

    # Everything that could stop the work is looked at before the work starts, and what is quickly looked at first:
    # loading a system's weights can take minutes.
    chosen = load_plugins(plugin).system(system)
    settings = parse_options(chosen, option or [])
    with Store.open(db, create=True) as store:
        found = _music(evaluation_set(data, split, scenes, limit), stems=True)
        lock.ensure_locked()
        ready = _set_up(chosen, settings)
        folder, count = _folder(ready, output), workers_or_default(workers)
        enhancement = _enhance(ready, found, folder, overwrite, soft_clip, count)
        failed = enhancement.failures
        present = [pair for pair in found.pairs if pair.id not in failed]
        verdict = _judge(folder, found, present, count)
        outcomes.complain(verdict)
        (scored,) = score_entries(store, [Entry(verdict, failed, replace=True, name=name)], found, engine, count)
        if as_json:
            shown = outcomes.scores_as_json(verdict, found, scored, engine.value)
            console.print_json({**shown, "clipping": outcomes.clipping(enhancement, found)})
        else:
            outcomes.show_enhancement(enhancement, found, folder)
            outcomes.show_scores(verdict, scored, found)
            print_boards(store, only=found.sha256)
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
    from harness.systems import Reference, parse_options

    chosen = load_plugins(plugin).system(system)
    settings = parse_options(chosen, option or [])
    found = _music(evaluation_set(data, split, scenes, limit), stems=issubclass(chosen, Reference))
    ready = _set_up(chosen, settings)
    folder = _folder(ready, output)
    result = _enhance(ready, found, folder, overwrite, soft_clip, workers_or_default(workers))
    if as_json:
        console.print_json(
            {
                "submission": str(folder),
                "system": result.manifest.system,
                "evaluation_set": outcomes.set_as_json(found),
                "made": len(result.made),
                "kept": len(result.kept),
                "failures": outcomes.failures_as_json(result.failures),
                "clipping": outcomes.clipping(result, found),
            }
        )
    else:
        outcomes.show_enhancement(result, found, folder)
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
    from harness.submission.validation import Verdict, submissions_in

    @cache
    def wanted() -> "EvaluationSet":
        # Once, however many submissions are judged with it; an error is each submission's.
        return _music(evaluation_set(data, split, scenes, limit), stems=False)

    verdicts: list[Verdict] = []
    for path in paths:
        try:
            folders = submissions_in(path)
        except HarnessError as error:
            verdicts.append(Verdict(path, not_judged=str(error).removeprefix(f"{path}: ")))
            continue
        for folder in folders:
            try:
                found = wanted()
                _check_purpose(folder, found, data)
                verdicts.append(_judge(folder, found, found.pairs, workers_or_default(workers)))
            except HarnessError as error:
                verdicts.append(Verdict(folder, not_judged=str(error)))
    if as_json:
        console.print_json([outcomes.verdict_as_json(verdict) for verdict in verdicts])
    else:
        for verdict in verdicts:
            outcomes.show_verdict(verdict)
    if any(verdict.not_judged for verdict in verdicts):
        raise typer.Exit(2)
    raise typer.Exit(0 if all(verdict.valid for verdict in verdicts) else 1)


def score(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="The submissions.")],
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Also write the scores there, of one submission.")
    ] = None,
    data: Data = None,
    split: Split = None,
    scenes: Scenes = None,
    limit: Limit = None,
    engine: EngineOption = Engine.locked,
    workers: Workers = None,
    db: Database = DEFAULT_DATABASE,
    as_json: Json = False,
) -> None:
    """Score finished submissions, store the scores, and show the leaderboard.

    A submission must be valid; of several, those that are valid are scored. Exit code: 0 every pair is scored,
    1 a submission is not valid or some pairs could not be scored, 2 it could not start.
    """
    from harness.errors import SubmissionError, UsageError
    from harness.haaqi import lock
    from harness.scoring.run import Entry, write_csv
    from harness_leaderboard.store import Store

    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder}: no such folder")
    if csv is not None and len(folders) > 1:
        raise UsageError(f"--csv {csv} takes the scores of one submission: name one, or leave it out (--json has all)")
    if csv is not None and csv.is_dir():
        raise UsageError(f"--csv {csv} is a folder: name a file")
    with Store.open(db, create=True) as store:
        found = _music(evaluation_set(data, split, scenes, limit), stems=True)
        for folder in folders:
            _check_purpose(folder, found, data)
        lock.ensure_locked()
        count = workers_or_default(workers)
        verdicts = [_judge(folder, found, found.pairs, count) for folder in folders]
        if not as_json:
            for verdict in verdicts:
                if not verdict.valid:
                    outcomes.show_verdict(verdict)
        entries = [Entry(verdict) for verdict in verdicts if verdict.valid]
        scored = score_entries(store, entries, found, engine, count) if entries else []
        scores = iter(scored)
        results = [(verdict, next(scores) if verdict.valid else None) for verdict in verdicts]
        if csv is not None and scored:
            write_csv(csv, scored[0].rows)
        if as_json:
            listed = [
                outcomes.verdict_as_json(verdict)
                if result is None
                else outcomes.scores_as_json(verdict, found, result, engine.value)
                for verdict, result in results
            ]
            console.print_json(listed if len(folders) > 1 else listed[0])
        elif scored:
            for verdict, result in results:
                if result is not None:
                    outcomes.show_scores(verdict, result, found)
            print_boards(store, only=found.sha256)
    bad = [str(verdict.folder) for verdict in verdicts if not verdict.valid]
    if bad:
        raise SubmissionError(f"not valid, so not scored: {' '.join(bad)}; mend it (harness validate {' '.join(bad)})")
    raise typer.Exit(1 if any(result.failures for result in scored) else 0)


# What the commands are made of


def _set_up(system: "type[System]", settings: "Mapping[str, Any]") -> "System":
    """Make a system with these settings and have it load its weights."""
    from harness.errors import HarnessError, SystemFailure
    from harness.systems.identity import made

    try:
        console.say(f"setting up {system.name} {system.version} ...")
        ready = made(system, settings)
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


def _folder(system: "System", output: str | None) -> Path:
    return Path(output).expanduser() if output else Path("submissions") / system.name


def _check_purpose(folder: Path, found: "EvaluationSet", data: str | None) -> None:
    """Unless the user named the evaluation set: refuse to judge a submission that is for another than the default."""
    from harness.errors import SubmissionError, UsageError
    from harness.submission.manifest import read_manifest

    if data is not None:
        return
    try:
        manifest = read_manifest(folder)
    except SubmissionError:
        return  # judging it says what is wrong with its manifest
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


def _enhance(
    system: "System", found: "EvaluationSet", folder: Path, overwrite: Overwrite, soft_clip: bool, workers: int
) -> "Enhancement":
    from harness.making.make import enhance as enhance_all

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


def _judge(folder: Path, found: "EvaluationSet", pairs: "Sequence[Pair]", workers: int) -> "Verdict":
    from harness.submission.validation import judge

    with console.progress(f"Validating {folder}", len(pairs), "remixes", workers) as advance:
        return judge(folder, found, pairs, workers, lambda name: advance(1, name))
