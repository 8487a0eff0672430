"""How the outcome of the work is shown: to people on the console, to programs as JSON."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness import console
from harness.challenge import EARS

if TYPE_CHECKING:
    from pathlib import Path

    from harness.making.make import Enhancement
    from harness.music.evaluationset import EvaluationSet, PairId
    from harness.scoring.run import Scored
    from harness.submission.manifest import Manifest
    from harness.submission.validation import Verdict
    from harness_leaderboard.records import ScoredRun

SHOWN = 10
"""Problems that are printed one by one; --json has them all."""


def clipping(result: "Enhancement", found: "EvaluationSet") -> dict[str, Any]:
    """How much of the selected files is clipped."""
    from harness.submission.protocols import form_of

    form = form_of(found.protocol)
    samples: dict[str, int] = {}
    clipped: Counter[str] = Counter()
    for pair in found.pairs:
        record = result.manifest.files.get(pair.remix_name)
        if record is not None and record.clipped is not None:
            samples[pair.remix_name] = form.max_clipped(pair.remix_name, pair.scene.scored_frames)
            clipped[pair.remix_name] = record.clipped
    share = {name: clipped[name] / samples[name] for name in samples}
    worst = max(share, key=lambda name: share[name], default=None)
    return {
        "files": len(samples),
        "clipped_files": sum(count > 0 for count in clipped.values()),
        "clipped_samples": clipped.total(),
        "share": clipped.total() / sum(samples.values()) if samples else 0.0,
        "worst_file": worst,
        "worst_share": share[worst] if worst else 0.0,
    }


def show_enhancement(result: "Enhancement", found: "EvaluationSet", folder: "Path") -> None:
    """Say what was written, how much of it is clipped, and what failed."""
    from harness.submission.protocols import form_of

    unit = form_of(found.protocol).unit
    console.say(f"{folder}: {len(result.made)} {unit} written, {len(result.kept)} were there already")
    loud = clipping(result, found)
    if loud["clipped_files"]:
        console.say(
            f"clipping: {loud['clipped_files']} of {loud['files']} files, {loud['share']:.1%} of all "
            f"samples; most in {loud['worst_file']} ({loud['worst_share']:.1%})"
        )
    else:
        console.say("clipping: none")
    show_failures(result.failures)


IDLE_SECONDS = 20.0
"""A system that has worked for less is not worth a hint."""


def show_idle_cores(result: "Enhancement", found: "EvaluationSet") -> None:
    """Say so if the system left all cores but one idle, and what to do."""
    import psutil

    from harness.compute.local import available_cpus

    manifest, made = result.manifest, set(result.made)
    pieces = {name for pair in found.pairs if pair.id in made for name in (pair.scene.song, " ".join(pair.id))}
    costs = [manifest.costs[piece[:300]] for piece in pieces if piece[:300] in manifest.costs]
    wall, cpu = sum(cost.wall_seconds for cost in costs), sum(cost.cpu_seconds for cost in costs)
    if manifest.streaming is not None or wall < IDLE_SECONDS or not 0.5 < cpu / wall < 1.5 or _has_gpu(manifest):
        return
    most = max(cost.peak_bytes for cost in costs)
    cores = available_cpus()
    count = min(cores, len(costs), int(psutil.virtual_memory().available // (2 * most or 1)))
    if count > 1:
        console.say(
            f"{manifest.system} used about one of {cores} cores: --processes {count} runs so many of it side by side"
        )


def _has_gpu(manifest: "Manifest") -> bool:
    """Whether a system may have computed on a GPU: it has a setting for that, and there is one."""
    from pathlib import Path

    device = manifest.settings.get("device")
    return device not in (None, "cpu") and (device != "auto" or Path("/dev/nvidia0").exists())


def show_failures(failures: "Mapping[PairId, str]") -> None:
    """Say which pairs failed, and why."""
    for (scene_id, listener_id), reason in list(failures.items())[:SHOWN]:
        failed = console.escape(f"{scene_id} {listener_id}: {reason}")
        console.err.print(f"[red]failed:[/red] {failed}", soft_wrap=True)
    if failures:
        more = f", {len(failures) - SHOWN} not shown" if len(failures) > SHOWN else ""
        console.say(f"{len(failures)} pairs failed{more}; run the same command again to retry them")


def set_as_json(found: "EvaluationSet") -> dict[str, Any]:
    """What identifies an evaluation set to systems."""
    return {"name": found.name, "split": found.split, "mixtures_sha256": found.mixtures_sha256}


def failures_as_json(failures: "Mapping[PairId, str]") -> list[dict[str, str]]:
    """The failed pairs with their reasons."""
    return [{"scene": scene, "listener": who, "reason": reason} for (scene, who), reason in failures.items()]


def _column_mean(scored: "Scored", column: str) -> float | None:
    from statistics import fmean

    return fmean(float(row[column]) for row in scored.rows) if scored.rows else None


def scores_as_json(verdict: "Verdict", found: "EvaluationSet", scored: "Scored", engine: str) -> dict[str, Any]:
    """The scores of a submission, with every digit, and what the fast engine has to do with its run."""
    from harness.haaqi import lock

    return {
        "submission": str(verdict.source),
        "run": scored.run_id,
        "key": scored.key,
        "evaluation_set": {**set_as_json(found), "sha256": found.sha256},
        "evaluator": lock.fingerprint(found.protocol),
        "engine": {
            "name": engine,
            "fast": scored.fast,
            "parts": scored.parts,
            "in_double": scored.in_double,
            "checked": scored.checked,
            "checked_in_double": scored.checked_in_double,
            "largest_difference": scored.largest_difference,
        },
        "pairs": len(found.pairs),
        "scored": len(scored.rows),
        "mean": _column_mean(scored, "score"),
        "left": _column_mean(scored, "left_score"),
        "right": _column_mean(scored, "right_score"),
        "replaced": None if scored.replaced is None else vars(scored.replaced),
        "failures": failures_as_json(scored.failures),
        "scores": scored.rows,
    }


def show_scores(verdict: "Verdict", scored: "Scored", found: "EvaluationSet") -> None:
    """Say a submission's mean scores, which pairs failed, and how the fast engine's scores were checked."""
    show_failures(scored.failures)
    if scored.rows:
        mean, left, right = (_column_mean(scored, column) for column in ("score", "left_score", "right_score"))
        console.say(
            f"{verdict.source}: mean HAAQI {mean:.4f} (left {left:.4f}, right {right:.4f}), "
            f"{len(scored.rows)} of {len(found.pairs)} pairs"
        )
    if scored.replaced is not None:
        console.warn(
            f"run {scored.run_id}: this replaces the mean HAAQI of {scored.replaced.mean:.4f} "
            f"({scored.replaced.pairs} pairs) that the board showed; harness runs show {scored.run_id} has its history"
        )
    if scored.fast:
        console.say(f"{verdict.source}: fast engine: {fast_in_words(scored, len(found.protocol.signals))}")


def fast_in_words(found: "Scored | ScoredRun", of_pair: int) -> str:
    """How the fast engine's scores of a run came about and were checked; `of_pair` parts are scored for a pair."""
    unit = "ears" if of_pair == len(EARS) else "stems"
    largest = "" if found.largest_difference is None else f", largest difference {found.largest_difference:.1g}"
    return (
        f"{found.in_double:,} of {found.parts:,} {unit} in double precision; {found.checked:,} checked by the locked "
        f"evaluator, {found.checked_in_double:,} by double precision{largest}"
    )
