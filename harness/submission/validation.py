"""Judging submissions: every problem is reported, not only the first.

A submission is valid if it holds exactly the files of each scene-listener pair (`forms`), all of them good, a manifest
that agrees with them (or none), and nothing else.
"""

import os
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from harness.errors import HarnessError, SubmissionError, UsageError
from harness.files import PARTIAL
from harness.music.evaluationset import EvaluationSet, Pair, Scene
from harness.submission.forms import Form, content
from harness.submission.manifest import MANIFEST, Manifest, max_manifest_bytes, read_manifest
from harness.submission.protocols import form_of

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

    def content(self, pair: Pair) -> str | None:
        """SHA-256 of what is submitted for a pair; None unless all of its files are good."""
        return content(pair, self.hashes)

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

    A folder is a submission if it holds a manifest or any FLAC file, be it in folders of listeners and songs; if it
    holds nothing but another folder, that one is looked at, as in `enhanced_signals/evaluation`. Archives that are not
    zip files are listed too, so that nobody takes them for judged.

    Raises:
        UsageError: there is nothing, or no submission in it, or it is neither a folder nor a zip file.
    """
    if not path.is_dir():
        ensure_readable(path)
        return [path]
    if _looks_like_submission(inner := _innermost(path)):
        return [inner]
    found = sorted(
        _innermost(child)
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
    if (folder / MANIFEST).is_file() or any(folder.glob("*.flac")):
        return True
    return any(
        path.name.startswith(f"{path.parents[1].name}_{path.parent.name}_") for path in folder.glob("*/*/*.flac")
    )


MAX_AROUND = 4
"""Folders that may lie around a submission and hold nothing else."""


def _innermost(path: Path) -> Path:
    """The submission in a folder that holds nothing but the folder that holds it, and so on; else the folder itself."""
    inner = path
    for _ in range(MAX_AROUND):
        if not inner.is_dir() or _looks_like_submission(inner):
            return inner
        entries = [entry for entry in inner.iterdir() if not entry.name.startswith(".")]
        if len(entries) != 1 or entries[0].is_symlink():
            break
        inner = entries[0]
    return path


def judge(
    folder: Path,
    evaluation_set: EvaluationSet,
    pairs: Sequence[Pair] | None = None,
    workers: int = 1,
    advance: Callable[[str], None] = lambda _: None,
    source: Path | None = None,
    problems: Sequence[Problem] = (),
    part: bool = False,
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
        part: others may be writing the files of other pairs: what the manifest says of those is not held against it.

    Raises:
        SubmissionError: the folder cannot be read at all.
        DataError: the evaluation set's music is missing.
    """
    verdict = Verdict(folder, source or folder, problems=list(problems))
    form = form_of(evaluation_set.protocol)
    due = {name: pair.scene for pair in (evaluation_set.pairs if pairs is None else pairs) for name in pair.files}
    known = {name for pair in evaluation_set.all_pairs for name in pair.files}
    present = _scan(verdict, known, form, part)
    _check_manifest(verdict, evaluation_set, present, len(known), set(due) if part else None)

    def check(name: str) -> tuple[str, str | SubmissionError]:
        if "/" in name and name not in present:
            # Not even looked for: a folder on the way may be a link that leads elsewhere.
            return name, SubmissionError(f"{name}: missing")
        try:
            return name, form.check(folder, name, due[name])
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
                    verdict.problems.append(Problem(name, without(PurePosixPath(name).name, without(name, result))))
            else:
                verdict.hashes[name] = result
            advance(name)
    _compare(verdict, due, form)
    return verdict


def _scan(verdict: Verdict, known: set[str], form: Form, part: bool) -> set[str]:
    """List the folder without following links; report whatever does not belong. Returns the pairs' files there."""
    folders = {str(parent) for name in known for parent in PurePosixPath(name).parents}
    spelled = {unicodedata.normalize("NFC", name): name for name in known | folders}
    present: set[str] = set()
    strays: list[Problem] = []
    waiting = ["."]
    while waiting:
        inner = waiting.pop()
        try:
            with os.scandir(verdict.folder / inner) as entries:
                for entry in entries:
                    name = entry.name if inner == "." else f"{inner}/{entry.name}"
                    kind = _kind(entry)
                    if kind == "folder" and name in folders:
                        waiting.append(name)
                    elif name == MANIFEST or name in known:
                        if kind == "link":
                            verdict.problems.append(Problem(name, "is a link: submit the file itself"))
                        elif name != MANIFEST:
                            present.add(name)
                    elif part and entry.name.startswith(PARTIAL):
                        pass  # somebody is writing it
                    elif kind != "link" and (meant := spelled.get(unicodedata.normalize("NFC", name), name)) != name:
                        strays.append(Problem(name, _why_misspelled(meant)))
                    else:
                        strays.append(Problem(name, why_stray(name, form, kind)))
        except OSError as error:
            raise SubmissionError(f"{verdict.folder / inner} cannot be read: {error.strerror}") from None
    verdict.problems += strays[:MAX_STRAYS]
    if len(strays) > MAX_STRAYS:
        verdict.problems.append(Problem("", f"holds {len(strays) - MAX_STRAYS} more entries that do not belong"))
    verdict.problems.sort(key=lambda problem: problem.file)
    return present


def _why_misspelled(meant: str) -> str:
    return f"has its accents in another form of Unicode than {meant!a}, as macOS writes them: rename it"


def without(name: str | Path, error: HarnessError | str) -> str:
    """What an error says of the file that it begins with."""
    return str(error).removeprefix(f"{name}: ").removeprefix(f"{name} ")


def _kind(entry: "os.DirEntry[str]") -> Kind:
    if entry.is_symlink():
        return "link"
    return "folder" if entry.is_dir(follow_symlinks=False) else "file"


def why_stray(name: str, form: Form, kind: Kind = "file") -> str:
    """What to say of an entry that is neither the manifest nor a file of a pair of the evaluation set."""
    if kind == "link":
        return "is a link, and does not belong here: remove it"
    if kind == "folder":
        return form.why_no_folder
    if PurePosixPath(name).name.startswith(PARTIAL):
        return "is left over from an interrupted run: run the same command again, or remove it"
    return form.why_stray(name) or "does not belong to a submission: remove it"


def _check_manifest(
    verdict: Verdict, evaluation_set: EvaluationSet, present: set[str], pairs: int, only: set[str] | None
) -> None:
    """Compare the manifest with the evaluation set and the files there; of files those in `only`, if it is given."""
    folder = verdict.folder
    try:
        verdict.manifest = read_manifest(folder, max_manifest_bytes(pairs))
    except SubmissionError as error:
        if not any(problem.file == MANIFEST for problem in verdict.problems):
            verdict.problems.append(Problem(MANIFEST, without(MANIFEST, error).removeprefix(f"{folder / MANIFEST}: ")))
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
    listed = set(manifest.files)
    if only is not None:
        present, listed = present & only, listed & only
    for name in sorted(present - listed):
        verdict.problems.append(Problem(name, f"is not listed in {MANIFEST}"))
    reported = {problem.file for problem in verdict.problems}
    absent = sorted(listed - present - reported)
    for name in absent[:MAX_STRAYS]:
        verdict.problems.append(Problem(name, f"is listed in {MANIFEST} but not there"))
    if len(absent) > MAX_STRAYS:
        verdict.problems.append(Problem(MANIFEST, f"lists {len(absent) - MAX_STRAYS} more files that are not there"))


def _compare(verdict: Verdict, due: Mapping[str, Scene], form: Form) -> None:
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
        if record.clipped and record.clipped > (most := form.max_clipped(name, due[name].scored_frames)):
            verdict.problems.append(
                Problem(name, f"has at most {most} samples, {MANIFEST} says that {record.clipped} were clipped")
            )
