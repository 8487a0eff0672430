"""Checking a whole evaluation set: its metadata, its music, and what lies beside them."""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from harness.challenge import CAD1, PROTOCOL, Protocol
from harness.compute.local import map_unordered
from harness.console import Advance
from harness.errors import DataError, UsageError
from harness.music.layout import load, splits
from harness.music.metadata import MAX_LABEL
from harness.sets.checking.audio import Looked, look_at
from harness.sets.checking.documents import OF_A_SPLIT, meant
from harness.sets.checking.findings import Findings, Place, quoted, shown_text, some_of
from harness.sets.checking.metadata import AT_MIC, CHECKS, SONGS, Contents, Wanted

MAX_FOLDERS = 100_000
"""Folders of music that are looked at for some that nobody needs."""

Progress = Callable[[int], AbstractContextManager[Advance]]
"""Shows how the music gets on: called with the number of folders."""


@dataclass(frozen=True)
class Checked:
    """What a check has found.

    Attributes:
        splits: those that were checked, and the protocol of each.
        findings: problems and remarks.
    """

    splits: Mapping[str, Protocol]
    findings: Findings


def check_set(root: Path, split: str | None, protocol: Protocol | None, workers: int, progress: Progress) -> Checked:
    """Find everything that is wrong with an evaluation set.

    Whatever `harness.music.layout.load` or reading its music refuses is a problem.

    Args:
        root: its folder, with `metadata/` and `audio/`.
        split: the one to check; None: all that are there.
        protocol: by which it is to be scored; None: the one whose metadata is there.
        workers: number of processes that read music.
        progress: see `Progress`.

    Raises:
        UsageError: there is no such folder.
    """
    if not os.path.isdir(root):  # noqa: PTH112 - unlike Path.is_dir, False for a name that is too long
        raise UsageError(f"{root}: no such folder (it should hold metadata/ and audio/)")
    findings = Findings()
    chosen = _chosen(root, split, protocol, findings)
    contents = {}
    for name, by in chosen.items():
        before = len(findings.problems)
        _check_label(root, name, findings)
        contents[name] = CHECKS[by](root, name, findings)
        if len(findings.problems) == before:
            _try_loading(root, name, by, findings)
    wanted = list(dict.fromkeys(each for of in contents.values() for each in of.wanted))
    _check_music(root, wanted, workers, progress, findings)
    if chosen and (split is None or len(splits(root)) == 1):
        _note_unused(root, list(contents.values()), findings)
    return Checked(chosen, findings)


def _chosen(root: Path, split: str | None, protocol: Protocol | None, findings: Findings) -> dict[str, Protocol]:
    """The splits to be checked; problems where there is none."""
    metadata = root / "metadata"
    if not metadata.is_dir():
        Place(findings, "metadata").problem(
            f"this folder is not there{meant(root, 'metadata')}: it holds scenes.<split>.json and so on"
        )
        return {}
    there = sorted(path.name for path in metadata.iterdir())
    named = sorted({match[1] for name in there if (match := OF_A_SPLIT.fullmatch(name))})
    found = splits(root)
    if split is not None:
        if named and split not in named:
            Place(findings, "metadata").problem(
                f"holds nothing of the split {quoted(split)}; it has files of {some_of(named, 10)}"
            )
            return {}
        return {split: protocol or found.get(split, PROTOCOL)}
    if protocol is not None:
        found = {each: protocol for each, of in found.items() if protocol in (of, CAD1)}
    if not found:
        Place(findings, "metadata").problem(
            "holds neither scenes.<split>.json (ICASSP 2024) nor musdb18.<split>.json with listeners.<split>.json "
            f"(first challenge), <split> being a name such as valid; it has {some_of(there, 10) or 'nothing'}"
        )
    for other in named:
        if other not in found:
            files = [name for name in there if (match := OF_A_SPLIT.fullmatch(name)) and match[1] == other]
            Place(findings, "metadata").remark(
                f"the split {quoted(other)} is not complete, and was not checked: only {some_of(files, 6)} of it"
            )
    return found


def _check_label(root: Path, split: str, findings: Findings) -> None:
    for what, name in (("folder", root.resolve().name), ("split", split)):
        if not 1 <= len(name) <= MAX_LABEL or not name.isprintable():
            Place(findings, ".").problem(
                f"the name of the {what}, {quoted(name)}, must have 1 to {MAX_LABEL} printable characters: rename it"
            )


def _try_loading(root: Path, split: str, protocol: Protocol, findings: Findings) -> None:
    """What loading refuses is a problem, whatever else was thought of."""
    try:
        load(root, split, protocol=protocol)
    except (DataError, UsageError) as error:
        Place(findings, "metadata").problem(shown_text(str(error)) if len(str(error)) > 2000 else str(error))


def _check_music(root: Path, wanted: list[Wanted], workers: int, progress: Progress, findings: Findings) -> None:
    if not wanted:
        return
    looked: dict[Wanted, Looked] = {}
    with progress(len(wanted)) as advance:
        for (_, each), found in map_unordered(look_at, [(root, each) for each in wanted], workers):
            looked[each] = found
            advance(1, each.folder)
    bits: Counter[str] = Counter()
    for each in wanted:
        bits.update(looked[each].bits)
        for is_remark, said in ((False, looked[each].problems), (True, looked[each].remarks)):
            for file, message in said:
                place = Place(findings, f"{each.folder}/{file}" if file else each.folder)
                (place.remark if is_remark else place.problem)(message)
    others = {name: count for name, count in bits.items() if name != "PCM_16"}
    if others:
        forms = ", ".join(f"{_BITS.get(name, name)} in {count:,}" for name, count in others.items())
        Place(findings, "audio").remark(
            f"other than 16 bit in {sum(others.values()):,} of {len(wanted):,} folders ({forms}): the harness reads "
            "it, the official programs take samples for 16-bit integers"
        )


_BITS = {"PCM_24": "24 bit", "PCM_32": "32 bit", "FLOAT": "float", "DOUBLE": "double", "PCM_U8": "8 bit"}


def _note_unused(root: Path, contents: list[Contents], findings: Findings) -> None:
    """Note folders of music that no entry of any split names."""
    listed = {folder for each in contents for folder in each.listed}
    for base in (AT_MIC, SONGS):
        unused = []
        for number, (here, folders, files) in enumerate(os.walk(root / base)):
            if number > MAX_FOLDERS:
                break
            folders.sort()
            inner = os.path.relpath(here, root)
            if inner not in listed and any(name.casefold().endswith((".wav", ".flac")) for name in files):
                unused.append(inner.removeprefix(f"{base}/"))
        if unused:
            Place(findings, base).remark(
                f"{len(unused):,} folders of music are named by no entry ({some_of(unused)}): they are not used"
            )
