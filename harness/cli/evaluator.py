"""harness evaluator verify"""

import typer

from harness import console
from harness.cli.common import Json, errors_as_lines

app = typer.Typer(help="The locked evaluator.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The locked evaluator."""


@app.command()
@errors_as_lines
def verify(as_json: Json = False) -> None:
    """Prove that the evaluator is the locked one: versions, sources, protocol, and scores.

    Exit code: 0 it is, 1 it is not.
    """
    from harness.haaqi import lock
    from harness.haaqi.conformance import TOLERANCE, official_scores

    if not as_json:
        console.say("checking sources, then scoring the conformance vectors (some seconds) ...")
    problems = lock.verify()
    if as_json:
        console.print_json(
            {
                "locked": not problems,
                "fingerprint": lock.fingerprint(),
                "problems": problems,
                "lock": lock.lock(),
                "environment": lock.environment(),
            }
        )
    else:
        for problem in problems:
            console.out.print(f"[red]✗[/red] {console.escape(problem)}", soft_wrap=True)
        if not problems:
            packages = ", ".join(f"{name} {version}" for name, version in lock.lock()["packages"].items())
            console.out.print(f"[green]✓[/green] {packages}: {len(lock.SOURCES)} source files as locked")
            console.out.print(f"[green]✓[/green] {len(lock.lock()['protocol'])} protocol constants as locked")
            console.out.print(
                f"[green]✓[/green] {2 * len(official_scores())} conformance scores agree with the official program "
                f"to {TOLERANCE:g}"
            )
            console.out.print(f"evaluator {lock.fingerprint()}", soft_wrap=True)
    raise typer.Exit(1 if problems else 0)
