"""harness validate, score"""

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cache
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
    ProtocolOption,
    RunName,
    Scenes,
    Split,
    Workers,
    evaluation_set,
    workers_or_default,
)
from harness.cli.computing import Cluster, ClusterConfig, PartOption, check_cluster, executor_of
from harness.cli.leaderboard import print_boards
from harness.cli.scoring import score_entries
from harness.errors import HarnessError, SubmissionError, UsageError, printable

if TYPE_CHECKING:
    from harness.music.evaluationset import EvaluationSet, Pair
    from harness.scoring.run import Scored
    from harness.submission.validation import Verdict

log = logging.getLogger(__name__)

Paths = Annotated[
    list[Path],
    typer.Argument(metavar="PATH...", help="A submission (a folder or a zip file), or a folder of submissions."),
]


def validate(
    paths: Paths,
    data: Data = None,
    split: Split = None,
    protocol: ProtocolOption = None,
    scenes: Scenes = None,
    limit: Limit = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Judge submissions; every problem is reported.

    Exit code: 0 all are valid, 1 some are not, 2 some could not be judged.
    """
    from harness.submission.validation import Verdict

    @cache
    def wanted() -> "EvaluationSet":
        # Once, however many submissions are judged with it; an error is each submission's.
        return look_at_music(evaluation_set(data, split, scenes, limit, protocol), stems=False, mixtures=False)

    judged: list[Verdict] = []
    for source in _sources(paths):
        if isinstance(source, Verdict):
            judged.append(source)
            continue
        with ExitStack() as kept:  # one at a time: what was unpacked may be large
            judged.append(_judge(source, wanted, data, workers_or_default(workers), kept))
    twins = verdicts.find_twins(judged)
    if as_json:
        console.print_json(
            [
                {**verdicts.verdict_as_json(verdict), "shares_files_with": verdicts.twins_as_json(at, judged, twins)}
                for at, verdict in enumerate(judged)
            ]
        )
    else:
        for verdict in judged:
            verdicts.show_verdict(verdict)
        for line in verdicts.twins_as_lines(judged, twins):
            console.out.print(verdicts.on_a_line(line), soft_wrap=True)
        if len(judged) > 1:
            console.out.print(verdicts.summary(judged))
    if any(verdict.not_judged for verdict in judged):
        raise typer.Exit(2)
    raise typer.Exit(0 if all(verdict.valid for verdict in judged) else 1)


def score(
    paths: Paths,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Also write the scores there; those of several with a column more."),
    ] = None,
    data: Data = None,
    split: Split = None,
    protocol: ProtocolOption = None,
    scenes: Scenes = None,
    limit: Limit = None,
    engine: EngineOption = Engine.locked,
    workers: Workers = None,
    cluster: Cluster = None,
    cluster_config: ClusterConfig = None,
    part: PartOption = None,
    name: RunName = None,
    db: Database = DEFAULT_DATABASE,
    as_json: Json = False,
) -> None:
    """Score finished submissions, store the scores, and show the leaderboard.

    A submission must be valid; of several, those that are valid are scored. With --part only a share of the scenes is
    judged and scored: the jobs of an array take all of them, into one PostgreSQL database, or each into an SQLite file
    that `harness runs import` merges. Exit code: 0 every pair is scored,
    1 a submission is not valid or some pairs could not be scored, 2 some could not be judged, or it could not start.
    """
    from harness.haaqi import lock
    from harness.scoring.run import Entry
    from harness.submission.validation import Verdict
    from harness_leaderboard.store import Store

    check_cluster(cluster, cluster_config)
    if csv is not None and csv.is_dir():
        raise UsageError(f"--csv {csv} is a folder: name a file")
    sources = _sources(paths)
    several = sources != list(paths) or len(sources) > 1
    if name is not None and several:
        raise UsageError(f"--name {name} is for one submission: name one, or leave it out (harness runs rename)")
    unread = [source for source in sources if isinstance(source, Verdict)]
    if len(unread) == len(sources):
        if as_json and len(unread) > 1:
            console.print_json([verdicts.verdict_as_json(verdict) for verdict in unread])
        elif len(unread) > 1:
            _show_judged(unread, [])
        _refuse_if_unscored(unread)
    with Store.open(db, create=True) as store, ExitStack() as kept:
        selected = evaluation_set(data, split, scenes, limit, protocol, part)
        found = look_at_music(selected, stems=True, mixtures=False)
        lock.ensure_locked(found.protocol)
        count = workers_or_default(workers)
        # What is unpacked stays until everything is scored: the workers read it.
        judged = [
            source
            if isinstance(source, Verdict)
            else _judge(source, lambda: found, data, count, kept, part is not None)
            for source in sources
        ]
        if not several and judged[0].not_judged:
            _refuse_if_unscored(judged)
        twins = verdicts.find_twins(judged)
        if not as_json:
            _show_judged(judged, verdicts.twins_as_lines(judged, twins))
        entries = [Entry(verdict, name=name, part=part is not None) for verdict in judged if verdict.valid]
        scored: list[Scored] = []
        if entries:
            with executor_of(cluster, cluster_config, "score", count) as executor:
                scored = score_entries(store, entries, found, engine, executor)
        scores = iter(scored)
        results = [(verdict, next(scores) if verdict.valid else None) for verdict in judged]
        if csv is not None and scored:
            _write_csv(csv, results, several, found)
        if as_json:
            listed = []
            for at, (verdict, result) in enumerate(results):
                shown = verdicts.verdict_as_json(verdict)
                if result is not None:
                    shown = outcomes.scores_as_json(verdict, found, result, engine.value)
                    shown |= verdicts.prospects_as_json(verdict)
                listed.append({**shown, "shares_files_with": verdicts.twins_as_json(at, judged, twins)})
            console.print_json(listed if several else listed[0])
        elif scored:
            for verdict, result in results:
                if result is not None:
                    outcomes.show_scores(verdict, result, found)
            if part is None:
                print_boards(store, only=found.sha256)
    _refuse_if_unscored(judged)
    raise typer.Exit(1 if any(result.failures for result in scored) else 0)


# What the commands are made of


def look_at_music(found: "EvaluationSet", stems: bool, mixtures: bool = True) -> "EvaluationSet":
    """The same evaluation set, after a look at all the music that is needed; see `EvaluationSet.check_music`."""
    from harness.challenge import STEMS

    found.check_music(STEMS if stems else [], mixtures)
    return found


def judge_folder(folder: Path, found: "EvaluationSet", pairs: "Sequence[Pair]", workers: int, **more: Any) -> "Verdict":
    """`harness.submission.validation.judge`, with a progress bar; `more` is what else it takes."""
    from harness.submission.protocols import form_of
    from harness.submission.validation import judge

    count = sum(len(pair.files) for pair in pairs)
    unit = form_of(found.protocol).unit if count == len(pairs) else "files"
    with console.progress(f"Validating {more.get('source', folder)}", count, unit, workers) as advance:
        return judge(folder, found, pairs, workers, lambda name: advance(1, name), **more)


def _sources(paths: Sequence[Path]) -> "list[Path | Verdict]":
    """The submissions that are named, each once; a verdict stands for what cannot be read."""
    from harness.submission.validation import submissions_in

    found: dict[str, Path | Verdict] = {}
    for path in paths:
        try:
            for submission in submissions_in(path):
                found.setdefault(os.path.realpath(submission), submission)
        except Exception as error:
            found.setdefault(os.path.realpath(path), _not_judged(path, error))
    return list(found.values())


def _not_judged(source: Path, error: Exception) -> "Verdict":
    """The verdict on a submission that cannot be judged, whatever is the reason: the others are judged all the same."""
    from harness.submission.validation import Verdict, without

    if isinstance(error, HarnessError):
        why = without(source, error)
    elif isinstance(error, OSError):
        why = f"cannot be read: {error.strerror or error}"
    else:
        log.debug("judging %s failed", source, exc_info=error)
        said = " ".join(str(error).split())[:300]
        why = f"the harness failed ({type(error).__name__}: {said}): please report this, with what --traceback shows"
    return Verdict(source, source, not_judged=why)


def _check_name(source: Path) -> None:
    """Raise UsageError if a submission could not be called by its name on the leaderboard."""
    path = os.path.realpath(source)
    try:
        f"{source} {path}".encode()
    except UnicodeEncodeError:
        raise UsageError(f"{source}: its path is not UTF-8: rename it") from None
    if not Path(path).name.isprintable():
        raise UsageError(f"{source}: its name has characters that are not printable: rename it")


def _judge(
    source: Path,
    wanted: "Callable[[], EvaluationSet]",
    data: str | None,
    workers: int,
    kept: ExitStack,
    part: bool = False,
) -> "Verdict":
    """Judge a submission; whatever keeps it from being judged is said in the verdict.

    Args:
        source: a folder or a zip file.
        wanted: gives the evaluation set.
        data: as the user named it.
        workers: number of threads.
        kept: holds what is unpacked until it is closed.
        part: see `harness.submission.validation.judge`.
    """
    from harness.errors import ArchiveRefused
    from harness.submission.archive import file_limits, open_archive, unpacking_folder
    from harness.submission.manifest import MANIFEST
    from harness.submission.protocols import form_of
    from harness.submission.validation import Problem, Verdict, ensure_readable, without

    try:
        _check_name(source)
        found = wanted()
        if source.is_dir():
            _check_purpose(source, source, lambda name: (source / name).is_file(), found, data)
            return judge_folder(source, found, found.pairs, workers, part=part)
        ensure_readable(source)
        limits = file_limits(found)
        with open_archive(source, limits) as archive:
            folder = kept.enter_context(unpacking_folder())
            # The manifest says what it is for; the rest is worth unpacking only if that is this evaluation set.
            problems = archive.unpack(folder, {MANIFEST: limits.pop(MANIFEST)})
            _check_purpose(folder, source, archive.entries.__contains__, found, data)
            with console.progress(f"Unpacking {source}", len(archive.entries), "files") as advance:
                problems += archive.unpack(folder, limits, advance)
            problems += archive.strays({MANIFEST, *limits}, form_of(found.protocol))
        return judge_folder(folder, found, found.pairs, workers, source=source, problems=problems, part=part)
    except ArchiveRefused as error:
        return Verdict(source, source, problems=[Problem("", without(source, error))])
    except Exception as error:
        return _not_judged(source, error)


def _check_purpose(
    folder: Path, source: Path, holds: Callable[[str], bool], found: "EvaluationSet", data: str | None
) -> None:
    """Unless the user named the evaluation set: refuse to judge a submission that is for another than the default.

    Args:
        folder: where the manifest lies.
        source: what the user named.
        holds: whether the submission holds a file of that name.
    """
    from harness.music.finding import EMBEDDED
    from harness.submission.manifest import max_manifest_bytes, read_manifest

    if data is not None:
        return
    try:
        manifest = read_manifest(folder, max_manifest_bytes(len(found.all_pairs)))
    except SubmissionError:
        return  # judging it says what is wrong with its manifest
    if manifest is not None and not manifest.is_for(found):
        declared = manifest.evaluation_set
        if declared.name in EMBEDDED:
            raise UsageError(f"{source} is for the evaluation set {declared.name}: say so with --data {declared.name}")
        raise UsageError(
            f"{source} is for the evaluation set {declared.name}: say where that lies with "
            f"--data ROOT --split {declared.split}"
        )
    if manifest is None and not any(holds(name) for pair in found.all_pairs for name in pair.files):
        raise UsageError(
            f"{source} has no manifest and nothing of the embedded evaluation set: say what it is for with --data ROOT"
        )


def _show_judged(judged: "Sequence[Verdict]", twins: Sequence[str]) -> None:
    """Say before hours of scoring what will not be scored, and what will never be ranked."""
    for verdict in judged:
        if not verdict.valid:
            verdicts.show_verdict(verdict)
        elif verdict.why_not_ranked:
            console.say(f"{verdict.source}: cannot be ranked: {verdict.why_not_ranked}")
    for line in twins:
        console.warn(line)
    if len(judged) > 1:
        console.say(verdicts.summary(judged))


def _refuse_if_unscored(judged: "Sequence[Verdict]") -> None:
    """Raise an error that names what was not scored because it is not valid or could not be judged."""
    unjudged = [verdict for verdict in judged if verdict.not_judged]
    bad = [str(verdict.source) for verdict in judged if not verdict.valid and not verdict.not_judged]
    if len(judged) == 1 and unjudged:
        raise UsageError(printable(f"{judged[0].source}: {judged[0].not_judged}"))
    said = []
    if bad:
        said.append(f"not valid, so not scored: {_some(bad)}; fix what is reported (harness validate) and score again")
    if unjudged:
        said.append(f"not judged, so not scored: {_some([str(verdict.source) for verdict in unjudged])}")
    if said:
        raise (UsageError if unjudged else SubmissionError)("; ".join(said))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - verdicts.SHOWN} more" if len(names) > verdicts.SHOWN else ""
    return printable(" ".join(names[: verdicts.SHOWN])) + more


def _write_csv(
    path: Path, results: "Sequence[tuple[Verdict, Scored | None]]", several: bool, found: "EvaluationSet"
) -> None:
    """Write the scores with the official columns, those of several submissions with the submission as the first."""
    from harness.scoring.rows import Row, columns_of, write_csv

    columns = columns_of(found.protocol)
    rows: list[Row] = [
        {"submission": str(verdict.source), **row} for verdict, result in results if result for row in result.rows
    ]
    write_csv(path, rows, ("submission", *columns) if several else columns)
