"""Judging a submission folder: every problem is reported, not only the first.

A submission is valid if it holds exactly one good remix for each scene-listener pair, a manifest that agrees with
them (or none), and nothing else.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import SubmissionError, UsageError
from harness.music.evaluationset import EvaluationSet, Pair
from harness.submission.flac import read_remix
from harness.submission.manifest import MANIFEST, Manifest, read_manifest

MAX_STRAYS = 1000
"""Strange entries, and absent ones, that are listed one by one; of the rest only the number is said."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with one file (or with the submission as a whole, where `file` is empty)."""

    file: str
    message: str


@dataclass
class Verdict:
    """The judgement of one submission.

    Attributes:
        folder: the submission.
        manifest: what it says of itself, if it has a readable manifest.
        hashes: SHA-256 of every good file, by name.
        problems: everything that is wrong; a valid submission has none.
        not_judged: why it could not be judged at all, or None.
    """

    folder: Path
    manifest: Manifest | None = None
    hashes: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    not_judged: str | None = None

    @property
    def valid(self) -> bool:
        """Whether it was judged, and nothing is wrong."""
        return not self.problems and self.not_judged is None


def submissions_in(path: Path) -> list[Path]:
    """The submissions at `path`: itself, or the folders in it.

    A folder is a submission if it holds a manifest or any FLAC file.

    Raises:
        UsageError: there is no such folder, or no submission in it.
    """
    if not path.is_dir():
        raise UsageError(f"{path}: no such folder")
    if _looks_like_submission(path):
        return [path]
    found = sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))
    if not found:
        raise UsageError(f"{path}: no submission here (neither {MANIFEST} nor FLAC files nor folders)")
    return found


def _looks_like_submission(folder: Path) -> bool:
    return (folder / MANIFEST).is_file() or any(folder.glob("*.flac"))


def judge(
    folder: Path,
    evaluation_set: EvaluationSet,
    pairs: Sequence[Pair] | None = None,
    workers: int = 1,
    advance: Callable[[str], None] = lambda _: None,
) -> Verdict:
    """Judge a submission against an evaluation set.

    Args:
        folder: the submission.
        evaluation_set: what it is for.
        pairs: the pairs that must be there; the selected pairs of the evaluation set by default.
        workers: threads that read files.
        advance: called with a file's name whenever one has been read.

    Raises:
        SubmissionError: the folder cannot be read at all.
        DataError: the evaluation set's music is missing.
    """
    verdict = Verdict(folder)
    due = {pair.remix_name: pair.scene for pair in (evaluation_set.pairs if pairs is None else pairs)}
    known = {pair.remix_name for pair in evaluation_set.all_pairs}
    present = _scan(verdict, known)
    _check_manifest(verdict, evaluation_set, present)

    def check(name: str) -> tuple[str, str | SubmissionError]:
        try:
            return name, read_remix(folder / name, due[name].frames).sha256
        except FileNotFoundError:
            return name, SubmissionError(f"{name}: missing")
        except SubmissionError as error:
            return name, error

    reported = {problem.file for problem in verdict.problems} - present
    with ThreadPoolExecutor(max_workers=workers) as pool:  # decoding and hashing release the GIL
        for name, result in pool.map(check, due):
            if isinstance(result, SubmissionError):
                # A link, for one, is both found by the scan and refused by the reader: say it once.
                if name not in reported:
                    verdict.problems.append(Problem(name, str(result).removeprefix(f"{name}: ")))
            else:
                verdict.hashes[name] = result
            advance(name)
    _compare_hashes(verdict)
    return verdict


def _scan(verdict: Verdict, known: set[str]) -> set[str]:
    """List the folder without following links; report whatever does not belong. Returns the remixes there."""
    present = set()
    strays = 0
    try:
        with os.scandir(verdict.folder) as entries:
            for entry in entries:
                if entry.name == MANIFEST or entry.name in known:
                    if entry.is_symlink():
                        verdict.problems.append(Problem(entry.name, "is a link: submit the file itself"))
                    elif entry.name != MANIFEST:
                        present.add(entry.name)
                    continue
                strays += 1
                if strays <= MAX_STRAYS:
                    verdict.problems.append(Problem(entry.name, _why_stray(entry)))
    except OSError as error:
        raise SubmissionError(f"{verdict.folder} cannot be read: {error.strerror}") from None
    if strays > MAX_STRAYS:
        verdict.problems.append(Problem("", f"holds {strays - MAX_STRAYS} more entries that do not belong"))
    verdict.problems.sort(key=lambda problem: problem.file)
    return present


def _why_stray(entry: "os.DirEntry[str]") -> str:
    if entry.is_symlink():
        return "is a link, and does not belong here: remove it"
    if entry.is_dir(follow_symlinks=False):
        return "is a folder: a submission holds files only"
    if entry.name.startswith(".partial-"):
        return "is left over from an interrupted run: run the same command again, or remove it"
    if entry.name.endswith(".txt"):
        return "is a text file: the official program would take it for a scale factor; remove it"
    if entry.name.endswith("_remix.flac"):
        return "names no scene-listener pair of the evaluation set"
    if entry.name.endswith(".flac"):
        return "is not named <scene>_<listener>_remix.flac"
    return "does not belong to a submission: remove it"


def _check_manifest(verdict: Verdict, evaluation_set: EvaluationSet, present: set[str]) -> None:
    try:
        verdict.manifest = read_manifest(verdict.folder)
    except SubmissionError as error:
        if not any(problem.file == MANIFEST for problem in verdict.problems):
            verdict.problems.append(Problem(MANIFEST, str(error)))
        return
    manifest = verdict.manifest
    if manifest is None:
        return
    if not manifest.is_for(evaluation_set):
        declared = manifest.evaluation_set
        verdict.problems.append(
            Problem(
                MANIFEST,
                f"is for the evaluation set {declared.name}, split {declared.split} "
                f"({(declared.mixtures_sha256 or 'no hash')[:12]}), not for {evaluation_set.name}, split "
                f"{evaluation_set.split} ({evaluation_set.mixtures_sha256[:12]}): see --data and --split",
            )
        )
    for name in sorted(present - set(manifest.files)):
        verdict.problems.append(Problem(name, f"is not listed in {MANIFEST}"))
    reported = {problem.file for problem in verdict.problems}
    absent = sorted(set(manifest.files) - present - reported)
    for name in absent[:MAX_STRAYS]:
        verdict.problems.append(Problem(name, f"is listed in {MANIFEST} but not there"))
    if len(absent) > MAX_STRAYS:
        verdict.problems.append(Problem(MANIFEST, f"lists {len(absent) - MAX_STRAYS} more files that are not there"))


def _compare_hashes(verdict: Verdict) -> None:
    if verdict.manifest is None:
        return
    for name, sha256 in verdict.hashes.items():
        record = verdict.manifest.files.get(name)
        if record is not None and record.sha256 != sha256:
            verdict.problems.append(
                Problem(name, f"has SHA-256 {sha256[:12]}..., {MANIFEST} says {record.sha256[:12]}...")
            )
