"""The training loop that both networks share: optimizer, learning rate, average of the weights, validation, resuming.

A run is decided by its settings, the pieces and the seed. Every step seeds PyTorch anew, so a run that was interrupted
and resumed gives, on a CPU, bit for bit the weights of one that was not.
"""

import contextlib
import csv
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from rich.console import Console
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from training import excerpts
from training.excerpts import SAMPLE_RATE, STEMS, TrainingProblem
from training.figures import HELD_OUT_AT_ONCE, medians, signal_to_distortion, unprocessed
from training.process import interruption, keep_memory, progress_bar
from training.states import STATE, read_state, require_same, write_state

LOG = "log.csv"

WARM_UP = 0.04
"""Share of the steps in which the learning rate rises."""

FINAL_RATE = 0.01
"""The last learning rate, relative to the highest."""

AVERAGE_DECAY = 0.999
"""Of the exponential moving average of the weights; less in the first steps."""

VALIDATIONS = 20
"""How often in a run."""

HELD_OUT_SECONDS = 8

SAVE_EVERY = 180.0
"""Seconds between two saved states."""

TOLERANCE = 0.01
"""Largest difference that half precision may make in an exported network, relative to its input (RMS)."""

COLUMNS = ("step", "train_loss", "held_out_loss", *(f"sdr_{stem}" for stem in STEMS), "seconds")


class Recipe(Protocol):
    """What a network brings to the loop.

    Attributes:
        name: for the progress bar.
        architecture: what decides the network, as plain JSON values.
        batch: excerpts in a batch.
        seconds: length of an excerpt.
        rate: highest learning rate.
        weight_decay: of AdamW.
        largest_gradient: norm to which longer gradients are cut.
    """

    name: str
    architecture: Mapping[str, Any]
    batch: int
    seconds: float
    rate: float
    weight_decay: float
    largest_gradient: float

    def build(self) -> Any:
        """The untrained network, a torch module, from PyTorch's random generator."""

    def prepare(self, network: Any, stems: Iterator[Any]) -> None:
        """Set what the network needs to know of the data, before its first step.

        Args:
            network: as built.
            stems: a few training batches, tensors of shape (batch, 4, 2, samples).
        """

    def losses(self, network: Any, stems: Any) -> Iterator[Any]:
        """Losses whose sum is to be minimised, one after the other, each with a graph of its own.

        Args:
            network: the network.
            stems: a tensor (batch, 4, 2, samples); its sum over axis 1 is the mixture.
        """

    def evaluate(self, network: Any, stems: Any) -> tuple[float, Any]:
        """The loss, and the estimates of the stems in the shape of `stems`."""


def settings(recipe: Recipe) -> dict[str, Any]:
    """Everything of a recipe that decides the result, as plain JSON values."""
    shared = ("batch", "seconds", "rate", "weight_decay", "largest_gradient")
    return {**json.loads(json.dumps(recipe.architecture)), **{name: getattr(recipe, name) for name in shared}}


def train(recipe: Recipe, pieces: Path, work: Path, steps: int, seed: int) -> None:
    """Train a network, or resume the training whose state lies in `work`.

    `work` then holds the final state, for `trained`, and the log. Ctrl-C ends the run after the step at hand and keeps
    its state; the same call resumes it.

    Args:
        recipe: the network.
        pieces: folder with the folders `train` and `held-out`.
        work: where state and log are kept.
        steps: number of steps of the whole run.
        seed: decides initial weights, excerpts and dropout.

    Raises:
        TrainingProblem: a state of other settings lies in `work`, or something is wrong with the pieces.
        KeyboardInterrupt: the user ended it.
    """
    if steps < 1:
        raise TrainingProblem(f"{steps} steps: at least one is needed")
    work.mkdir(parents=True, exist_ok=True)
    console = Console()
    training, unseen = excerpts.load(pieces / "train"), excerpts.load(pieces / "held-out")
    keep_memory()
    samples = round(recipe.seconds * SAMPLE_RATE)
    _require_length(training, excerpts.shortest(samples), pieces / "train")
    _require_length(unseen, HELD_OUT_SECONDS * SAMPLE_RATE, pieces / "held-out")
    identity = {
        "recipe": settings(recipe),
        "steps": steps,
        "seed": seed,
        "pieces": [len(training), excerpts.checksum(training), len(unseen), excerpts.checksum(unseen)],
    }
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run = _Run(recipe, identity, steps, seed, device)
    state = read_state(work)
    if state is None:
        first = excerpts.batches(training, seed, 0, min(steps, 8), recipe.batch, samples)
        recipe.prepare(run.network, (torch.from_numpy(batch).to(device) for batch in first))
    else:
        require_same(state["identity"], identity, work)
        run.restore(state)
        console.print(f"{recipe.name}: resuming after step {run.step} of {steps}")
    run.learn(training, excerpts.held_out(unseen, HELD_OUT_SECONDS * SAMPLE_RATE), work, console)


def trained(recipe: Recipe, work: Path) -> tuple[Any, Mapping[str, Any]]:
    """The averaged network of a finished or interrupted training, on the CPU, for inference.

    Returns:
        The network; and what is known of its training: "recipe" (settings), "steps" (of the whole run), "step"
        (reached), "seed", "pieces" and "held_out": loss and SDR (dB) of each stem, None where it never sounds.

    Raises:
        TrainingProblem: there is no state in `work`, or it is one of other settings.
    """
    state = read_state(work)
    if state is None:
        raise TrainingProblem(f"{work}: no {STATE} in it; train first")
    identity = state["identity"]
    require_same(identity, {**identity, "recipe": settings(recipe)}, work)
    network = recipe.build()
    average = AveragedModel(network, use_buffers=True)
    average.load_state_dict(state["average"])
    last = dict(zip(COLUMNS, state["rows"][-1], strict=True)) if state["rows"] else {}
    # Without the time it took, so that the same training gives the same checkpoint.
    held_out = {
        name: None if math.isnan(value) else round(value, 4)
        for name, value in last.items()
        if name not in ("step", "train_loss", "seconds")
    }
    return average.module.eval(), {**identity, "step": state["step"], "held_out": held_out}


class _Run:
    """Everything that changes during a training, which is what a state file holds."""

    def __init__(self, recipe: Recipe, identity: Mapping[str, Any], steps: int, seed: int, device: Any) -> None:
        self.recipe = recipe
        self.identity = identity
        self.steps = steps
        self.seed = seed
        self.device = device
        torch.manual_seed(seed)
        self.network = recipe.build().to(device)
        self.optimizer = torch.optim.AdamW(
            [parameter for parameter in self.network.parameters() if parameter.requires_grad],
            lr=recipe.rate,
            weight_decay=recipe.weight_decay,
        )
        self.average = AveragedModel(self.network, multi_avg_fn=_average, use_buffers=True)
        self.step = 0
        self.seconds = 0.0
        self.losses: list[float] = []
        self.rows: list[list[float]] = []

    def restore(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.load_state_dict(state["average"])
        self.step = state["step"]
        self.seconds = state["seconds"]
        self.losses = state["losses"]
        self.rows = state["rows"]

    def save(self, work: Path) -> None:
        state = {
            "identity": self.identity,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "losses": self.losses,
            "rows": self.rows,
        }
        write_state(work, state)

    def learn(self, training: list[excerpts.Piece], unseen: excerpts.Batch, work: Path, console: Console) -> None:
        """Do the steps that are left."""
        recipe = self.recipe
        held_out = torch.from_numpy(unseen)
        of_mixture = " ".join(f"{value:.1f}" for value in unprocessed(held_out))
        console.print(f"{recipe.name} on {self.device}. SDR in dB of {', '.join(STEMS)}; of the mixture: {of_mixture}")
        self._write_log(work)
        interval = max(1, round(self.steps / VALIDATIONS))
        samples = round(recipe.seconds * SAMPLE_RATE)
        # A GPU is faster than one thread can make excerpts; beside a CPU, a second thread would only be in its way.
        threads = os.cpu_count() or 1 if self.device.type == "cuda" else 1
        data = excerpts.batches(training, self.seed, self.step, self.steps, recipe.batch, samples, threads)
        last_time = saved = time.monotonic()
        with interruption() as interrupted, contextlib.closing(data), progress_bar(console) as progress:
            task = progress.add_task(recipe.name, total=self.steps, completed=self.step, **self._figures())
            for stems in data:
                self._learn_from(torch.from_numpy(stems).to(self.device))
                if self.step % interval == 0 or self.step == self.steps:
                    self._validate(held_out)
                    self._write_log(work)
                    progress.console.print(f"step {self.step}: held-out {self._held_out_text()}")
                now = time.monotonic()
                self.seconds += now - last_time
                progress.update(task, completed=self.step, **self._figures(now - last_time))
                last_time = now
                if interrupted.is_set() or self.step == self.steps or now - saved > SAVE_EVERY:
                    self.save(work)
                    saved = time.monotonic()
                if interrupted.is_set() and self.step < self.steps:
                    progress.stop()
                    console.print(f"Interrupted after step {self.step} of {self.steps}; the same command resumes.")
                    raise KeyboardInterrupt

    def _learn_from(self, stems: Any) -> None:
        torch.manual_seed(self.seed * 1_000_003 + self.step)
        self.network.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate * relative_rate(self.step, self.steps)
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for loss in self.recipe.losses(self.network, stems):
            loss.backward()
            total += loss.item()
        if not math.isfinite(total):
            raise TrainingProblem(f"the loss of step {self.step + 1} is {total}: lower the learning rate")
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.largest_gradient)
        self.optimizer.step()
        self.average.update_parameters(self.network)
        self.step += 1
        self.losses.append(total)

    def _validate(self, held_out: Any) -> None:
        """Add a row to the log."""
        network = self.average.module.eval()
        losses, ratios = [], []
        with torch.no_grad():
            for stems in held_out.to(self.device).split(HELD_OUT_AT_ONCE):
                loss, estimates = self.recipe.evaluate(network, stems)
                losses.extend([loss] * len(stems))
                ratios.append(signal_to_distortion(stems, estimates).cpu().numpy())
        median_ratios = medians(np.concatenate(ratios))
        train_loss = sum(self.losses) / len(self.losses)
        self.losses = []
        self.rows.append([self.step, train_loss, sum(losses) / len(losses), *median_ratios, self.seconds])

    def _write_log(self, work: Path) -> None:
        partial = work / f"{LOG}.partial"
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows([row[0], *(f"{value:.6g}" for value in row[1:])] for row in self.rows)
        partial.replace(work / LOG)

    def _figures(self, step_seconds: float = math.inf) -> dict[str, Any]:
        """What the progress bar shows: losses, and seconds of music per second."""
        recent = self.losses[-50:] or [row[1] for row in self.rows[-1:]]
        loss = f"{sum(recent) / len(recent):.4g}" if recent else "-"
        speed = self.recipe.batch * self.recipe.seconds / step_seconds
        return {"loss": loss, "held_out": self._held_out_text(), "speed": f"{speed:.1f} s/s"}

    def _held_out_text(self) -> str:
        if not self.rows:
            return "-"
        row = self.rows[-1]
        return f"{row[2]:.4g}, SDR {' '.join(f'{value:.1f}' for value in row[3:-1])}"


def _average(averages: Any, weights: Any, updates: Any) -> None:
    """Move the average, which spans about the last tenth of the steps until its decay is reached."""
    count = int(updates)
    get_ema_multi_avg_fn(min(AVERAGE_DECAY, (1 + count) / (10 + count)))(averages, weights, updates)


def relative_rate(step: int, steps: int) -> float:
    """The learning rate of a step, relative to the highest: a linear rise, then half a cosine down."""
    rising = max(1, round(WARM_UP * steps))
    if step < rising:
        return (step + 1) / rising
    return FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))


def _require_length(pieces: list[excerpts.Piece], samples: int, folder: Path) -> None:
    length = min(piece.shape[1] for piece in pieces)
    if length < samples:
        raise TrainingProblem(
            f"{folder}: a piece of {length / SAMPLE_RATE:.1f} s, at least {samples / SAMPLE_RATE:.1f} s are needed"
        )
