"""harness run, enhance"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness import console
from harness.cli import outcomes, verdicts
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
    RunName,
    Scenes,
    Split,
    Workers,
    evaluation_set,
    given,
    load_plugins,
    workers_or_default,
)
from harness.cli.judging import judge_folder, look_at_music
from harness.cli.leaderboard import print_boards
from harness.cli.scoring import score_entries

if TYPE_CHECKING:
    from harness.making.make import Enhancement
    from harness.music.evaluationset import EvaluationSet
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
        found = look_at_music(evaluation_set(data, split, scenes, limit), stems=True)
        lock.ensure_locked()
        ready = _set_up(chosen, settings)
        folder, count = _folder(ready, output), workers_or_default(workers)
        enhancement = _enhance(ready, found, folder, overwrite, soft_clip, count)
        failed = enhancement.failures
        present = [pair for pair in found.pairs if pair.id not in failed]
        verdict = judge_folder(folder, found, present, count)
        verdicts.complain(verdict)
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
    found = look_at_music(evaluation_set(data, split, scenes, limit), stems=issubclass(chosen, Reference))
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


def _folder(system: "System", output: str | None) -> Path:
    return Path(output).expanduser() if output else Path("submissions") / system.name


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
