"""Evaluation of a system or a function from a notebook or a script, as `harness run` does it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harness import console
from harness.apart.naming import named
from harness.causality.examining import calls_of, examined, is_examined
from harness.chain import CHAINS, Chain
from harness.challenge import STEMS
from harness.compute.local import LocalProcesses, available_cpus, kept_surroundings
from harness.errors import UsageError
from harness.files import database_url, expanded
from harness.haaqi import lock
from harness.haaqi.evaluator import EngineName
from harness.making.make import enhance, loaded_manifest
from harness.making.plan import Overwrite
from harness.music.evaluationset import EvaluationSet
from harness.music.finding import load_evaluation_set
from harness.results.frames import Results, leaderboard_errors, results_of
from harness.results.functions import Chosen, Separation, chosen
from harness.results.scoring import check_arguments
from harness.scoring.entries import Entry, checked_name
from harness.scoring.run import store_and_score
from harness.submission.protocols import form_of
from harness.submission.validation import judge
from harness.systems import System
from harness_leaderboard.store import Store

Bar = Callable[[str, int, str], AbstractContextManager[Callable[[int, str], None]]]


def evaluate(
    system: str | type[System] | System | Separation,
    data: str | Path | EvaluationSet = "demo",
    *,
    split: str | None = None,
    scenes: Sequence[str] | None = None,
    limit: int | None = None,
    options: Mapping[str, Any] | None = None,
    plugins: Sequence[str] = (),
    engine: EngineName = "fast",
    chain: Chain = "baseline",
    workers: int | None = None,
    db: str | Path | None = None,
    output: str | Path | None = None,
    name: str | None = None,
    progress: bool = False,
) -> Results:
    """Run a system over an evaluation set and score it.

    A registered system runs in a process of its own. A class, an object or a function runs in this one, is marked so
    (`isolation` is "in-process"), and never has a rank. Where it fails, its pairs have state "failed" and a reason.

    Args:
        system: the name of a registered system; a class derived from `harness.systems.Separator` or `Enhancer`, which
            is made with `options` and loaded; an instance, which is used unchanged; or a function of (mixture,
            sample rate), float64 of shape (samples, 2) at 44,100 Hz, that returns the four stems: a mapping by their
            names, or an array (4, samples, 2) in the order vocals, drums, bass, other.
        data: "demo" for the embedded set, the folder of another one, or one that is loaded already.
        split: of `data`, where that is a folder with several.
        scenes: only these, by name; all by default.
        limit: only so many of them.
        options: settings of the system.
        plugins: files or modules with systems that a name may stand for.
        engine: what computes HAAQI: "fast", which is checked; "fast64", the same with everything in double precision;
            or "locked".
        chain: what follows separation: "baseline", or "live" for the chain for live music.
        workers: processes that score; one for each core by default.
        db: the leaderboard that the run is stored in: an SQLite file, made if there is none, or the URL of a database.
            By default nothing is stored.
        output: the folder that the submission is written to; what a registered system has written there is kept and not
            made anew. By default they are removed.
        name: what to call the run.
        progress: show progress on standard error.

    Returns:
        The run, and its pairs of the scenes that were selected. With `db`, its rank among the others there.

    Raises:
        HarnessError: in one line what is wrong, and what to do next. `UsageError`, `DataError`, `SystemFailure` and the
            rest of `harness.errors` are such.
    """
    check_arguments(engine, workers=workers, limit=limit)
    if chain not in CHAINS:
        raise UsageError(f"chain is {chain!r}: expected {' or '.join(map(repr, CHAINS))}")
    if name is not None:
        checked_name(name)
    with ExitStack() as stack:
        # Before any code of the system runs, which may change the current folder and the environment.
        stack.enter_context(kept_surroundings())
        stack.enter_context(leaderboard_errors())
        found = (data if isinstance(data, EvaluationSet) else load_evaluation_set(data, split)).select(scenes, limit)
        found.check_music(STEMS)
        lock.ensure_locked(found.protocol)
        temporary = Path(stack.enter_context(TemporaryDirectory(prefix="harness-")))
        url = f"sqlite:///{temporary / 'leaderboard.db'}" if db is None else _absolute(database_url(db, "the database"))
        folder = None if output is None else expanded(str(output), "output").absolute()
        run = chosen(system, options, plugins)
        stack.enter_context(closing(run.running))
        if folder is None:
            # The run's submission is called like it.
            folder = temporary / "".join(c if c.isalnum() or c in "-_." else "_" for c in run.found.name)
        store = stack.enter_context(Store.open(url, create=True))
        # What is stored for others is not scored in a process in which anything may have been changed.
        apart = run.here and db is not None
        count = workers or available_cpus()
        run_id = _run(run, found, folder, store, engine, chain, count, apart, name, _bar(progress))
        results = results_of(store.whole_runs(pairs_of=[run_id]), found, run_id)
    selected = results.pairs["scene"].isin([scene.id for scene in found.scenes])
    return Results(**{**vars(results), "pairs": results.pairs[selected].reset_index(drop=True)})


def _absolute(url: str) -> str:
    """The URL of an SQLite file, whatever the current folder becomes."""
    path = url.removeprefix("sqlite:///")
    return url if path == url else f"sqlite:///{Path(path).absolute()}"


def _run(
    run: Chosen,
    found: EvaluationSet,
    folder: Path,
    store: Store,
    engine: EngineName,
    chain: Chain,
    workers: int,
    apart: bool,
    name: str | None,
    bar: Bar,
) -> int:
    """Enhance, judge, score and store; the number of the run."""
    system = run.running
    about = run.found
    manifest = named(lambda: loaded_manifest(system, about.kind, found, False, chain), about.name, "set up")
    if not run.here and is_examined(about, manifest):
        with bar(f"Is {about.name} causal?", calls_of(about), "calls") as advance:
            manifest = examined(system, about, manifest, found, advance)
    with bar(f"Enhancing with {manifest.system}", len(found.pairs), form_of(found.protocol).unit) as advance:
        overwrite: Overwrite = "always" if run.here else "missing"
        made = enhance(system, manifest, found, folder, overwrite=overwrite, workers=workers, advance=advance)
    system.close()
    present = [pair for pair in found.pairs if pair.id not in made.failures]
    verdict = judge(folder, found, present, workers)
    entry = Entry(verdict, made.failures, replace=True, name=name)
    with ExitStack() as stack:
        advances: list[Callable[[int, str], None]] = []

        def started(todo: int, _already: int, _replaced: int) -> None:
            if todo:
                advances.append(stack.enter_context(bar("Scoring", todo, "pairs")))

        (scored,) = store_and_score(
            store,
            [entry],
            found,
            engine=engine,
            executor=LocalProcesses(workers, apart),
            started=started,
            advance=lambda count, what: advances[0](count, what),
        )
    return scored.run_id


def _bar(progress: bool) -> Bar:
    """How progress is shown."""

    @contextmanager
    def silent(_title: str, _total: int, _unit: str) -> Iterator[Callable[[int, str], None]]:
        yield lambda _count, _what: None

    return console.progress if progress else silent
