"""harness run, enhance"""

from contextlib import nullcontext
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    ProtocolOption,
    RunName,
    Scenes,
    Split,
    Workers,
    data_folder,
    evaluation_set,
    given,
    output_folder,
    workers_or_default,
)
from harness.cli.computing import Cluster, ClusterConfig, PartOption, check_cluster, executor_of
from harness.cli.judging import judge_folder, look_at_music
from harness.cli.leaderboard import print_boards
from harness.cli.running import (
    Batch,
    InProcessOption,
    Isolate,
    Manner,
    Memory,
    Opened,
    Processes,
    Python,
    Timeout,
    loaded,
    opened,
)
from harness.cli.scoring import score_entries
from harness.errors import UsageError
from harness.files import expanded

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from harness.compute.executor import Executor
    from harness.making.make import Enhancement
    from harness.making.make import Workers as MakingWorkers
    from harness.making.pieces import Piece
    from harness.music.evaluationset import EvaluationSet
    from harness.music.parts import Part
    from harness.submission.manifest import Manifest

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
    typer.Option("--overwrite", help="If the submission exists: leave it alone, complete it, or replace it."),
]


class ChainName(StrEnum):
    """What follows separation."""

    baseline = "baseline"
    live = "live"


ChainOption = Annotated[
    ChainName,
    typer.Option(
        "--chain",
        help="What follows separation: the baseline, which measures the whole piece's loudness, or the chain for live "
        "music.",
    ),
]
SoftClip = Annotated[bool, typer.Option("--soft-clip", help="Pass remixes through tanh before they are clipped.")]


def run(
    system: SystemName,
    option: Options = None,
    output: Output = None,
    name: RunName = None,
    data: Data = None,
    split: Split = None,
    protocol: ProtocolOption = None,
    scenes: Scenes = None,
    limit: Limit = None,
    overwrite: OverwriteOption = Overwrite.missing,
    soft_clip: SoftClip = False,
    chain: ChainOption = ChainName.baseline,
    engine: EngineOption = Engine.locked,
    workers: Workers = None,
    processes: Processes = None,
    batch: Batch = None,
    cluster: Cluster = None,
    cluster_config: ClusterConfig = None,
    db: Database = DEFAULT_DATABASE,
    plugin: PluginSources = None,
    python: Python = None,
    timeout: Timeout = None,
    memory: Memory = None,
    isolate: Isolate = False,
    in_process: InProcessOption = False,
    as_json: Json = False,
) -> None:
    """Run a system: enhance, validate, score, store, and show the leaderboard.

    After an interruption, the same command resumes the run.

    Exit code: 0 every pair is scored, 1 some are not, 2 it could not start.
    """
    from harness.haaqi import lock
    from harness.scoring.run import Entry
    from harness_leaderboard.store import Store

    # Everything that could stop the work is looked at before the work starts, and what is quickly looked at first:
    # loading a system's weights can take minutes.
    helpers = _Helpers(workers_or_default(workers), processes, cluster, cluster_config, in_process)
    folder, count = _folder(system, output, in_process), helpers.workers
    manner = Manner(python, timeout, memory, isolate, in_process)
    hidden = _hidden(folder, data, db)
    if in_process:
        # And proven, before a stranger's code is here.
        lock.ensure_locked(evaluation_set(data, split, protocol=protocol).protocol)
    with opened(system, option, plugin, manner, hidden) as found_system, Store.open(db, create=True) as store:
        _check_batch(found_system, batch)
        found = look_at_music(evaluation_set(data, split, scenes, limit, protocol), stems=True)
        lock.ensure_locked(found.protocol)
        manifest = loaded(found_system, found, soft_clip, chain.value)
        manifest = _examined(found_system, manifest, found)
        enhancement = _enhance(found_system, manifest, found, folder, overwrite, helpers, batch)
        found_system.running.close()
        failed = enhancement.failures
        present = [pair for pair in found.pairs if pair.id not in failed]
        verdict = judge_folder(folder, found, present, count)
        verdicts.complain(verdict)
        entry = Entry(verdict, failed, replace=True, name=name)
        with executor_of(cluster, cluster_config, "score", count, apart=in_process) as executor:
            (scored,) = score_entries(store, [entry], found, engine, executor)
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
    protocol: ProtocolOption = None,
    scenes: Scenes = None,
    limit: Limit = None,
    overwrite: OverwriteOption = Overwrite.missing,
    soft_clip: SoftClip = False,
    chain: ChainOption = ChainName.baseline,
    workers: Workers = None,
    processes: Processes = None,
    batch: Batch = None,
    cluster: Cluster = None,
    cluster_config: ClusterConfig = None,
    part: PartOption = None,
    plugin: PluginSources = None,
    python: Python = None,
    timeout: Timeout = None,
    memory: Memory = None,
    isolate: Isolate = False,
    in_process: InProcessOption = False,
    as_json: Json = False,
) -> None:
    """Run a system and write its submission; nothing is scored.

    Exit code: 0 every pair's files are there, 1 some are not, 2 it could not start.
    """
    from harness.music.parts import Part

    helpers = _Helpers(workers_or_default(workers), processes, cluster, cluster_config, in_process)
    share = None if part is None else Part.parse(part)
    folder = _folder(system, output, in_process)
    manner = Manner(python, timeout, memory, isolate, in_process)
    with opened(system, option, plugin, manner, _hidden(folder, data, None)) as found_system:
        _check_batch(found_system, batch)
        reference = found_system.found.kind == "reference"
        selected = evaluation_set(data, split, scenes, limit, protocol, part)
        found = look_at_music(selected, stems=reference)
        manifest = loaded(found_system, found, soft_clip, chain.value)
        # All parts hear the same music, so that they come to the same verdict.
        heard = found if share is None else evaluation_set(data, split, scenes, limit, protocol)
        manifest = _examined(found_system, manifest, heard)
        result = _enhance(found_system, manifest, found, folder, overwrite, helpers, batch, share)
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


def _folder(system: str, output: str | None, in_process: bool) -> Path:
    """The folder of the submission."""
    resolved = output_folder(output, Path("submissions", system))
    # As the user wrote it, unless a system in our own process may change the current folder.
    written = Path("submissions", system) if output is None else expanded(output, "--output")
    return resolved if in_process else written


def _hidden(folder: Path, data: str | None, db: str | None) -> list[Path]:
    """What a sandboxed system must not see."""
    folder = folder.absolute()
    hidden = [folder.parent if folder.parent.name == "submissions" else folder]
    music = data_folder(data)
    if music is not None:
        hidden.append(music)
    if db is not None and db.startswith("sqlite:///"):
        hidden.append(Path(db.removeprefix("sqlite:///").partition("?")[0]).absolute())
    return hidden


def _examined(system: Opened, manifest: "Manifest", found: "EvaluationSet") -> "Manifest":
    """The manifest with the verdict on the system's causality, which is said as well."""
    from harness.causality.examining import calls_of, examined, is_examined

    if not is_examined(system.found, manifest):
        return manifest
    with console.progress(f"Is {manifest.system} causal?", calls_of(system.found), "calls") as advance:
        result = examined(system.running, system.found, manifest, found, advance)
    if (verdict := result.causality) is not None:
        console.say(f"{manifest.system}: {verdict.in_words}")
        if verdict.verdict == "not causal" and manifest.class_ == "causal":
            console.warn(f"{manifest.system} declares itself causal and is not: its run is non-causal")
    return result


def _check_batch(system: Opened, batch: int | None) -> None:
    """Raise UsageError where the user asks for what the system cannot do."""
    found = system.found
    if batch is not None and not (found.many and found.kind == "separator" and not found.streaming):
        raise UsageError(
            f"--batch is for systems that separate several pieces at once; {found.name} does not: leave it out"
        )


WORTH_A_PROCESS = 60.0
"""Seconds of music for which one more process of a streaming system is started: to start and load it takes some."""


@dataclass(frozen=True)
class _Helpers:
    """Who makes remixes besides this process's own system, as the options say.

    Raises:
        UsageError: they do not fit together.
    """

    workers: int
    processes: int | None
    cluster: str | None
    cluster_config: Path | None
    in_process: bool

    def __post_init__(self) -> None:
        if self.cluster is not None and self.processes is not None:
            raise UsageError(
                "--processes is for one machine: how many jobs and workers a cluster has says its own "
                "configuration (--cluster-config)"
            )
        check_cluster(self.cluster, self.cluster_config)
        if self.in_process and self.cluster is not None:
            raise UsageError("--in-process does not go with --cluster: workers are other processes")
        if self.in_process and (self.processes or 1) > 1:
            raise UsageError("--in-process does not go with --processes: these are others")

    def for_(self, system: Opened, folder: Path) -> "MakingWorkers":
        """For `harness.making.make.enhance`, and the folder of the submission."""

        def elsewhere(pieces: "Sequence[Piece]") -> "AbstractContextManager[Executor] | None":
            from harness.compute.local import LocalProcesses
            from harness.making.claims import has_place

            if self.cluster is not None:
                return executor_of(self.cluster, self.cluster_config, "enhance", self.workers)
            usual = 1
            if system.found.streaming and not self.in_process and has_place(folder):
                usual = min(self.workers, int(sum(piece.seconds for piece in pieces) // WORTH_A_PROCESS))
            count = min(self.processes or usual, len(pieces))
            return nullcontext(LocalProcesses(count, apart=True)) if count > 1 else None

        return elsewhere


def _enhance(
    system: Opened,
    manifest: "Manifest",
    found: "EvaluationSet",
    folder: Path,
    overwrite: Overwrite,
    helpers: _Helpers,
    batch: int | None,
    part: "Part | None" = None,
) -> "Enhancement":
    from harness.making.make import enhance as enhance_all
    from harness.submission.protocols import form_of

    system.output.log_to(folder.with_name(f"{folder.name}.log"))
    unit = form_of(found.protocol).unit
    with console.progress(f"Enhancing with {manifest.system}", len(found.pairs), unit) as advance:
        result = enhance_all(
            system.running,
            manifest,
            found,
            folder,
            overwrite=overwrite.value,
            workers=helpers.workers,
            part=part,
            elsewhere=helpers.for_(system, folder),
            batch=batch,
            advance=advance,
            say=console.say,
        )
    for log in sorted(result.logs - {system.output.path}):
        console.say(f"what {manifest.system} printed, and its exceptions: {log}")
    if helpers.processes is None and helpers.cluster is None:
        outcomes.show_idle_cores(result, found)
    return result
