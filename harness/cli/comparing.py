"""harness compare"""

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from harness import console
from harness.challenge import CAD1
from harness.cli.common import DEFAULT_DATABASE, Database, Json, ProtocolOption, Split, data_option, named_set

if TYPE_CHECKING:
    from harness.music.evaluationset import EvaluationSet
    from harness_leaderboard.contrasts import Grouping
    from harness_leaderboard.ranking import Board
    from harness_leaderboard.records import EvaluationSetRecord, RunStatus, ScoredRun
    from harness_leaderboard.store import Store


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="Two runs or more, A the first: each by its number, its name, or its system if that is unique.",
        ),
    ],
    worst: Annotated[
        int, typer.Option("--worst", metavar="N", min=0, help="How many pairs to list on which A lost most.")
    ] = 3,
    data: Annotated[
        str | None,
        data_option(
            "demo, if the runs are on it", "Their evaluation set, to break down by stem gain and severity too."
        ),
    ] = None,
    split: Split = None,
    protocol: ProtocolOption = None,
    db: Database = DEFAULT_DATABASE,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV, with all digits.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print a LaTeX table, for the package booktabs.")] = False,
    as_json: Json = False,
) -> None:
    """Compare runs pair by pair: how far apart they are, how sure that is, and where A gains and loses.

    Any runs on one evaluation set, ranked or not, over the pairs that both have scored. Of more than two runs, every
    two are compared, and A with each of the others in detail.
    """
    from harness.errors import UsageError
    from harness_leaderboard import contrast_formats
    from harness_leaderboard.contrasts import contrasts
    from harness_leaderboard.store import Store

    if csv + latex + as_json > 1:
        raise UsageError("choose one of --csv, --latex and --json")
    named_by_data = named_set(data, split, protocol)
    if len(runs) < 2:
        raise UsageError("name two runs or more: harness runs lists them")
    with Store.open(db, create=False) as store:
        named = _found(store, runs, named_by_data)
        board = _board(store, named)
        places = {row.source.id: row for row in board.rows}
        rows = tuple(places[status.id] for status in named)
        loaded = _evaluation_set(board.evaluation_set, named_by_data, data)
        severities, gains = ({}, {}) if loaded is None else (_severities(loaded), _gains(loaded))
        unknown = "severity" if board.stems else "stem gain and severity"
        found = contrast_formats.Comparisons(board, rows, contrasts(rows, worst, severities, gains))
    if as_json:
        console.print_json(contrast_formats.comparisons_json(found))
    elif csv:
        sys.stdout.write(contrast_formats.comparisons_csv(found))
    elif latex:
        sys.stdout.write(contrast_formats.comparisons_latex(found))
    else:
        console.out.print(contrast_formats.comparisons_tables(found))
        if loaded is None:
            console.say(f"(by {unknown} too: --data ROOT)")


def _found(store: "Store", runs: Sequence[str], on: "EvaluationSet | None") -> "list[RunStatus]":
    """The runs that the user means; the evaluation set that is named decides between runs of one name.

    Raises:
        UsageError: there is no such run, or one is named twice, or was removed.
    """
    from harness.cli.runs import find
    from harness.errors import UsageError

    found = [find(store, run, None if on is None else on.sha256) for run in runs]
    for place, status in enumerate(found):
        if status.visibility == "removed":
            raise UsageError(f"run {status.id} was removed: harness runs restore {status.id}")
        if status.id in (before.id for before in found[:place]):
            raise UsageError(f"{runs[place]!r} is run {status.id}, which is named twice: name two different runs")
    return found


def _board(store: "Store", found: "Sequence[RunStatus]") -> "Board":
    """The board of these runs and of no others.

    Raises:
        UsageError: they are not on one evaluation set.
        HarnessError: they were not scored by one evaluator, or have no scores that can be believed.
    """
    from harness.errors import HarnessError, UsageError
    from harness_leaderboard.ranking import boards

    first = found[0]
    for other in found[1:]:
        if other.evaluation_set.sha256 != first.evaluation_set.sha256:
            raise UsageError(
                f"run {first.id} is on {_called(first.evaluation_set)}, run {other.id} on "
                f"{_called(other.evaluation_set)}: only runs on one evaluation set can be compared"
            )
    every: dict[int, dict[str, ScoredRun]] = {status.id: {} for status in found}
    for scored in store.runs(("shown", "hidden")):
        if scored.id in every and scored.scored:
            every[scored.id][scored.fingerprint] = scored
    for status in found:
        if not every[status.id]:
            raise HarnessError(f"run {status.id} has no scores yet: harness runs show {status.id} says what is missing")
    common = set.intersection(*(set(by_evaluator) for by_evaluator in every.values()))
    if not common:
        listed = ", ".join(f"{status.id} by {status.fingerprint[:12]}" for status in found)
        raise HarnessError(
            f"the runs were scored by different evaluators ({listed}): harness runs rescore RUN with this one"
        )
    fingerprint = first.fingerprint if first.fingerprint in common else min(common)
    (board,) = boards(by_evaluator[fingerprint] for by_evaluator in every.values())
    for row in board.rows:
        if row.status in ("changed", "disputed"):
            raise HarnessError(f"run {row.source.id} cannot be compared: {row.status}, {row.why_not_ranked}")
    return board


def _called(about: "EvaluationSetRecord") -> str:
    return f"{about.name} · {about.split} · {about.sha256[:12]}"


def _evaluation_set(
    about: "EvaluationSetRecord", loaded: "EvaluationSet | None", data: str | None
) -> "EvaluationSet | None":
    """The runs' evaluation set, as far as it can be had: the one that is named, or the embedded one if it is that.

    Raises:
        UsageError: the one that is named is another one.
    """
    from harness.errors import UsageError
    from harness.music.finding import embedded

    if loaded is None:
        return embedded(about.name, about.sha256)
    if loaded.sha256 == about.sha256:
        return loaded
    raise UsageError(
        f"--data {data} is another evaluation set than the runs', {_called(about)}: its hash begins with "
        f"{loaded.sha256[:12]}"
    )


def _severities(loaded: "EvaluationSet") -> "Mapping[str, Grouping]":
    """Listeners by the grade of their hearing loss (`hearing.grade_of`)."""
    from harness.hearing import grade_of

    listeners = {who.id: who for scene in loaded.whole for who in scene.listeners}
    return {"severity": {name: (grade_of(who.better_ear_average),) for name, who in listeners.items()}}


def _gains(loaded: "EvaluationSet") -> "Mapping[str, Grouping]":
    """Scenes by the gain of each stem, "vocals +6 dB"; nothing under a protocol without gains."""
    if loaded.protocol == CAD1:
        return {}
    return {
        "gain": {
            scene.id: [f"{stem} {gain:+g} dB" if gain else f"{stem} 0 dB" for stem, gain in scene.gains.items()]
            for scene in loaded.whole
        }
    }
