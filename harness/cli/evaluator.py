"""harness evaluator verify"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from harness import console
from harness.cli.common import Engine, EngineOption, Json, Workers, add_command, workers_or_default

if TYPE_CHECKING:
    from harness.challenge import Protocol
    from harness.haaqi.agreement import Comparison, Outcome

app = typer.Typer(help="The locked evaluator, and the fast engine held against it.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The locked evaluator, and the fast engine held against it."""


def verify(
    engine: EngineOption = Engine.locked,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Prove that the evaluators of all protocols are the locked ones: versions, sources, protocol, and scores.

    With --engine fast, then also that the fast engine gives the same scores as the locked evaluator, on music and
    on signals that are seldom met (some minutes of processor time); with --engine fast64, that it does so with
    everything in double precision.

    Exit code: 0 they are (and the engines agree), 1 one is not (or they differ).
    """
    from harness.challenge import PROTOCOL, PROTOCOLS
    from harness.haaqi import lock

    if not as_json:
        console.say("checking sources, then scoring the conformance vectors (up to a minute) ...")
    problems = {}
    for protocol in PROTOCOLS.values():
        problems[protocol.name] = lock.verify(protocol)
        if not as_json:
            _show_locked(protocol, problems[protocol.name])
    locked = not any(problems.values())
    asked = engine is not Engine.locked
    compared = _compare(workers_or_default(workers), engine is Engine.fast64) if asked and locked else None
    agreed = compared is None or all(case.agrees for case in compared)
    if as_json:
        evaluators = {
            name: {
                "locked": not problems[name],
                "fingerprint": lock.fingerprint(protocol),
                "problems": problems[name],
                "lock": lock.lock(protocol),
            }
            for name, protocol in PROTOCOLS.items()
        }
        console.print_json(
            {
                # The ICASSP 2024 challenge's stands at the top too: once there was no other.
                **evaluators[PROTOCOL.name],
                "locked": locked,
                "problems": list(dict.fromkeys(line for lines in problems.values() for line in lines)),
                "evaluators": evaluators,
                "environment": lock.environment(),
                **({"fast": _as_json(compared) if compared else None} if asked else {}),
            }
        )
    elif compared:
        _show(compared)
    raise typer.Exit(0 if agreed and locked else 1)


add_command(app, verify)


def _show_locked(protocol: "Protocol", problems: Sequence[str]) -> None:
    """Say of one protocol's evaluator that it is the locked one, or why it is not."""
    from harness.haaqi import lock
    from harness.haaqi.conformance import TOLERANCE

    console.out.print(f"The {protocol.title}:")
    for problem in problems:
        console.out.print(f"[red]✗[/red] {console.escape(problem)}", soft_wrap=True)
    if not problems:
        locked = lock.lock(protocol)
        packages = ", ".join(f"{name} {version}" for name, version in locked["packages"].items())
        pairs = lock.conformance_of(protocol).official_scores()
        console.out.print(f"[green]✓[/green] {packages}: {len(locked['sources'])} source files as locked")
        console.out.print(f"[green]✓[/green] {len(locked['protocol'])} protocol constants as locked")
        console.out.print(
            f"[green]✓[/green] {len(protocol.signals) * len(pairs)} conformance scores agree with the official program "
            f"to {TOLERANCE:g}"
        )
        console.out.print(f"evaluator {lock.fingerprint(protocol)}", soft_wrap=True)


def _compare(workers: int, in_double: bool) -> "list[Comparison]":
    """Have both engines score everything; what comes of it, in the order of the cases."""
    from harness.challenge import PROTOCOLS
    from harness.haaqi import agreement

    # First, and in this process: what has to be compiled is then there for all workers.
    done = [
        found for protocol in PROTOCOLS.values() for found in agreement.conformance_comparisons(protocol, in_double)
    ]
    todo = agreement.cases()
    found = {}
    with console.progress("Comparing", len(todo), "cases", workers) as advance:
        for comparison in agreement.comparisons(todo, workers, in_double):
            found[comparison.name] = comparison
            advance(1, comparison.name)
    return done + [found[case.name] for case in todo]


def _largest(compared: "list[Comparison]") -> float:
    return max((case.difference for case in compared if case.difference is not None), default=0.0)


def _as_json(compared: "list[Comparison]") -> dict[str, Any]:
    from dataclasses import asdict

    from harness.haaqi import agreement, fast

    return {
        "agrees": all(case.agrees for case in compared),
        "tolerance": agreement.TOLERANCE,
        "largest_difference": _largest(compared),
        "sources_sha256": fast.sources_sha256(),
        "cases": [{**asdict(case), "difference": case.difference, "agrees": case.agrees} for case in compared],
    }


def _show(compared: "list[Comparison]") -> None:
    from rich.table import Table

    from harness.haaqi import agreement, fast

    table = Table("", "case", box=None, pad_edge=False)
    for name in ("locked", "fast", "difference"):
        table.add_column(name, justify="right", no_wrap=True)
    for case in compared:
        table.add_row(
            "[green]✓[/green]" if case.agrees else "[red]✗[/red]",
            console.escape(case.name),
            _shown(case.locked),
            _shown(case.fast),
            "" if case.difference is None else f"{case.difference:.1e}" if case.same_draws else "other draws",
        )
    console.out.print()
    console.out.print(table)
    failed = [case.name for case in compared if not case.agrees]
    largest = f"largest difference {_largest(compared):.1e}, allowed {agreement.TOLERANCE:g}"
    console.out.print()
    if failed:
        console.out.print(
            f"[red]✗[/red] the fast engine is not the locked evaluator in {len(failed)} of {len(compared)} cases "
            f"({largest}): score with --engine locked",
            soft_wrap=True,
        )
    else:
        console.out.print(
            f"[green]✓[/green] the fast engine agrees with the locked evaluator in {len(compared)} cases: {largest}",
            soft_wrap=True,
        )
    console.out.print(f"fast engine {fast.sources_sha256()}", soft_wrap=True)


def _shown(outcome: "Outcome") -> str:
    return outcome if isinstance(outcome, str) else f"{outcome:.10f}"
