"""`python -m training`: render the music, train the models, write the checkpoints."""

import os
from pathlib import Path
from typing import Annotated

import typer

HERE = Path(__file__).resolve().parent
CHECKPOINTS = HERE.parent / "plugins" / "harness_plugins" / "checkpoints"

TRAIN_PIECES = 220
HELD_OUT_PIECES = 16
TEST_PIECES = 24
SEED = 0
DEMUCS_STEPS = 1000
UMX_STEPS = 1000

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)

Work = Annotated[Path, typer.Option(help="where music and unfinished trainings are kept (3 GB)", file_okay=False)]
Out = Annotated[Path, typer.Option(help="where the checkpoints go: DIR/demucs and DIR/umx", file_okay=False)]
Seed = Annotated[int, typer.Option(help="decides everything random", min=0)]
Steps = Annotated[int, typer.Option(help="of the whole training", min=1)]


@app.command()
def render(
    work: Work = HERE / "work",
    train: Annotated[int, typer.Option(help="pieces to train on", min=1)] = TRAIN_PIECES,
    held_out: Annotated[int, typer.Option(help="pieces to validate with and to choose on", min=1)] = HELD_OUT_PIECES,
    test: Annotated[int, typer.Option(help="pieces to report on", min=0)] = TEST_PIECES,
    seed: Seed = SEED,
    workers: Annotated[int, typer.Option(help="processes", min=1)] = os.cpu_count() or 1,
) -> None:
    """Render the music, or what is missing of it."""
    from training import pieces

    counts = {"train": train, "held-out": held_out, "test": test}
    pieces.render(work / "pieces", counts, seed, workers)


@app.command()
def demucs(work: Work = HERE / "work", out: Out = CHECKPOINTS, steps: Steps = DEMUCS_STEPS, seed: Seed = SEED) -> None:
    """Train Hybrid Demucs, or resume its training, and write its checkpoint."""
    from training import demucs_demo

    demucs_demo.train(work / "pieces", work / "demucs", out / "demucs", steps, seed)


@app.command()
def umx(work: Work = HERE / "work", out: Out = CHECKPOINTS, steps: Steps = UMX_STEPS, seed: Seed = SEED) -> None:
    """Train Open-Unmix, or resume its training, and write its checkpoint."""
    from training import umx_demo

    umx_demo.train(work / "pieces", work / "umx", out / "umx", steps, seed)


@app.command()
def blend(work: Work = HERE / "work", out: Out = CHECKPOINTS) -> None:
    """Choose how much of the mixture the models' stems hold, by HAAQI on the held-out pieces."""
    from training import blending

    root = blending.evaluation_set(work / "pieces" / "held-out", work, "choice")
    for system in blending.MODELS:
        blending.choose(system, root, "choice", out / system)


@app.command("test")
def make_test(work: Work = HERE / "work") -> None:
    """Compare the models with `passthrough` and `centre` on the pieces that nothing was chosen on."""
    from training import blending

    root = blending.evaluation_set(work / "pieces" / "test", work, "test")
    blending.compare(root, "test", work)


def main() -> None:
    """Run a command; problems that a user can fix are one line, with exit code 1."""
    from training.excerpts import TrainingProblem

    try:
        app()
    except (TrainingProblem, FileNotFoundError) as problem:
        raise SystemExit(f"error: {problem}") from problem


if __name__ == "__main__":
    main()
