"""Judging submissions: every problem is reported, not only the first.

A submission is valid if it holds exactly one good remix for each scene-listener pair, a manifest that agrees with
them (or none), and nothing else.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from harness.challenge import PROTOCOL
from harness.errors import SubmissionError, UsageError
from harness.files import PARTIAL
from harness.music.evaluationset import EvaluationSet, Pair, Scene
from harness.submission.flac import read_remix
from harness.submission.manifest import MANIFEST, Manifest, max_manifest_bytes, read_manifest

ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".7z", ".rar")
"""Endings of the names of archives. Only zip files are read; of the others it is said that they were not."""

MAX_STRAYS = 1000
"""Strange entries, and absent ones, that are listed one by one; of the rest only the number is said."""

Kind = Literal["file", "folder", "link"]


@dataclass(frozen=True)
class Problem:
    """What is wrong with one file (or with the submission as a whole, where `file` is empty)."""

    file: str
    message: str


@dataclass
class Verdict:
    """The judgement of one submission.

    Attributes:
        folder: where its files lie.
        source: what the user named: that folder, or the archive from which it was unpacked.
        manifest: what it says of itself, if it has a readable manifest.
        hashes: SHA-256 of every good file, by name.
        problems: everything that is wrong; a valid submission has none.
        not_judged: why it could not be judged at all, or None.
    """

    folder: Path
    source: Path
    manifest: Manifest | None = None
    hashes: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    not_judged: str | None = None

    @property
    def valid(self) -> bool:
        """Whether it was judged, and nothing is wrong."""
        return not self.problems and self.not_judged is None

    @property
    def label(self) -> str:
        """Its name for people: that of the folder, or of the zip file without ".zip"."""
        source = self.source.resolve()
        packed = self.folder != self.source and source.suffix.lower() == ".zip"
        return source.stem if packed else source.name

    @property
    def why_not_ranked(self) -> str | None:
        """Why it can never have a rank, whatever its scores; None if it can, once every pair is scored."""
        if not self.valid:
            return "it was not judged" if self.not_judged else "it is not valid"
        if self.manifest is None:
            return f"it has no {MANIFEST}, so its training data is not declared"
        if self.manifest.reference:
            return "a reference, not a system that competes"
        return self.manifest.why_not_eligible


def submissions_in(path: Path) -> list[Path]:
    """The submissions at `path`: itself, or the folders and archives in it.

    A folder is a submission if it holds a manifest or any FLAC file. Archives that are not zip files are listed too,
    so that nobody takes them for judged.

    Raises:
        UsageError: there is nothing, or no submission in it, or it is neither a folder nor a zip file.
    """
    if not path.is_dir():
        ensure_readable(path)
        return [path]
    if _looks_like_submission(path):
        return [path]
    found = sorted(
        child
        for child in path.iterdir()
        if not child.name.startswith(".") and (child.is_dir() or child.suffix.lower() in ARCHIVES)
    )
    if not found:
        raise UsageError(f"{path}: no submission here (neither {MANIFEST} nor FLAC files, folders or zip files)")
    return found


def ensure_readable(path: Path) -> None:
    """Raise UsageError unless there is a folder or a zip file at `path`."""
    if path.is_dir():
        return
    if not path.exists():
        raise UsageError(f"{path}: no such folder or zip file")
    if not path.is_file() or path.suffix.lower() != ".zip":
        unpack = ": unpack it first" if path.suffix.lower() in ARCHIVES else ""
        raise UsageError(f"{path}: is not a folder or a zip file{unpack}")


def _looks_like_submission(folder: Path) -> bool:
    return (folder / MANIFEST).is_file() or any(folder.glob("*.flac"))


def judge(
    folder: Path,
    evaluation_set: EvaluationSet,
    pairs: Sequence[Pair] | None = None,
    workers: int = 1,
    advance: Callable[[str], None] = lambda _: None,
    source: Path | None = None,
    problems: Sequence[Problem] = (),
) -> Verdict:
    """Judge a submission against an evaluation set.

    Args:
        folder: where its files lie.
        evaluation_set: what it is for.
        pairs: the pairs that must be there; the selected pairs of the evaluation set by default.
        workers: threads that read files.
        advance: called with a file's name whenever one has been read.
        source: the archive from which the folder was unpacked, if it was.
        problems: what was found wrong while it was unpacked.

    Raises:
        SubmissionError: the folder cannot be read at all.
        DataError: the evaluation set's music is missing.
    """
    verdict = Verdict(folder, source or folder, problems=list(problems))
    due = {pair.remix_name: pair.scene for pair in (evaluation_set.pairs if pairs is None else pairs)}
    known = {pair.remix_name for pair in evaluation_set.all_pairs}
    present = _scan(verdict, known)
    _check_manifest(verdict, evaluation_set, present, len(known))

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
                    verdict.problems.append(Problem(name, _without(name, result)))
            else:
                verdict.hashes[name] = result
            advance(name)
    _compare(verdict, due)
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
                    verdict.problems.append(Problem(entry.name, why_stray(entry.name, _kind(entry))))
    except OSError as error:
        raise SubmissionError(f"{verdict.folder} cannot be read: {error.strerror}") from None
    if strays > MAX_STRAYS:
        verdict.problems.append(Problem("", f"holds {strays - MAX_STRAYS} more entries that do not belong"))
    verdict.problems.sort(key=lambda problem: problem.file)
    return present


def _without(name: str, error: SubmissionError) -> str:
    """What an error says of the file that it begins with."""
    return str(error).removeprefix(f"{name}: ").removeprefix(f"{name} ")


def _kind(entry: "os.DirEntry[str]") -> Kind:
    if entry.is_symlink():
        return "link"
    return "folder" if entry.is_dir(follow_symlinks=False) else "file"


def why_stray(name: str, kind: Kind = "file") -> str:
    """What to say of an entry that is neither the manifest nor a remix of the evaluation set."""
    if kind == "link":
        return "is a link, and does not belong here: remove it"
    if kind == "folder":
        return "is a folder: a submission holds files only"
    if name.startswith(PARTIAL):
        return "is left over from an interrupted run: run the same command again, or remove it"
    if name.endswith(".txt"):
        return "is a text file: the official program would take it for a scale factor; remove it"
    if name.endswith("_remix.flac"):
        return "names no scene-listener pair of the evaluation set"
    if name.endswith(".flac"):
        return "is not named <scene>_<listener>_remix.flac"
    return "does not belong to a submission: remove it"


def _check_manifest(verdict: Verdict, evaluation_set: EvaluationSet, present: set[str], pairs: int) -> None:
    folder = verdict.folder
    try:
        verdict.manifest = read_manifest(folder, max_manifest_bytes(pairs))
    except SubmissionError as error:
        if not any(problem.file == MANIFEST for problem in verdict.problems):
            verdict.problems.append(Problem(MANIFEST, _without(MANIFEST, error).removeprefix(f"{folder / MANIFEST}: ")))
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


def _compare(verdict: Verdict, due: Mapping[str, Scene]) -> None:
    """Compare the good files with what the manifest says of them."""
    if verdict.manifest is None:
        return
    for name, sha256 in verdict.hashes.items():
        record = verdict.manifest.files.get(name)
        if record is None:
            continue
        if record.sha256 != sha256:
            verdict.problems.append(
                Problem(name, f"has SHA-256 {sha256[:12]}..., {MANIFEST} says {record.sha256[:12]}...")
            )
        if record.clipped and record.clipped > (most := 2 * PROTOCOL.remix_frames(due[name].frames)[-1]):
            verdict.problems.append(
                Problem(name, f"has at most {most} samples, {MANIFEST} says that {record.clipped} were clipped")
            )
