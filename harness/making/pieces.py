"""What a piece of music becomes: the files of all its pairs, by one system that is asked for one piece at a time.

Separation is done once for each piece of music, the remix once for each scene, amplification for each listener.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from harness.apart.running import Running
from harness.challenge import CAD1, PROTOCOL, STEMS
from harness.enhancement import Signal, amplify, to_remix_format
from harness.errors import SystemFailure
from harness.making.driving import ANYTHING, Enhanced, Separated, enhanced, reason_for, stems_of
from harness.making.loads import load_of
from harness.music.evaluationset import Pair, Scene
from harness.submission.causality import LoadRecord
from harness.submission.flac import encode
from harness.submission.manifest import CostRecord, Manifest
from harness.submission.stems import stem_files

Files = dict[str, tuple[bytes, int | None]]
"""Contents of the files of a pair by their names, and how many samples were clipped where that can be."""

Write = Callable[[str, bytes, int | None], None]
"""Writes a file and records it: called with its name in the submission, its content, and its clipped samples."""


@dataclass(frozen=True)
class Piece:
    """A piece of music, and for whom it is to be enhanced.

    Attributes:
        pairs: those whose files are to be made: of one piece of music, maybe of several scenes.
        music: what its files must contain, as pairs of path and SHA-256.
    """

    pairs: tuple[Pair, ...]
    music: tuple[tuple[Path, str], ...]

    @property
    def scene(self) -> Scene:
        """One of the scenes with this music."""
        return self.pairs[0].scene

    @property
    def seconds(self) -> float:
        """How long it is, from its file's header."""
        return self.scene.frames / PROTOCOL.sample_rate


def pieces_of(pairs: Sequence[Pair], hashes: Mapping[Path, str], true_stems: bool) -> list[Piece]:
    """Pairs by the piece of music that they need, in their order.

    Args:
        pairs: those whose files are to be made.
        hashes: of the files of their scenes.
        true_stems: whether the system is handed these, besides the mixture.
    """
    by_music: dict[Path, list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_music[pair.scene.folder].append(pair)
    names = ["mixture", *STEMS] if true_stems else ["mixture"]
    found = []
    for folder, of_music in by_music.items():
        music = [(path, hashes[path]) for path in (folder / f"{name}.wav" for name in names) if path in hashes]
        found.append(Piece(tuple(of_music), tuple(music)))
    return found


@dataclass(frozen=True)
class Maker:
    """A system at work.

    Attributes:
        running: the system, loaded.
        manifest: of it; nothing in it is changed here.
        pool: threads that amplify, encode and write.
        write: see `Write`; called by these threads.
        costs, loads: what each piece takes is put here, by its name.
    """

    running: Running
    manifest: Manifest
    pool: ThreadPoolExecutor
    write: Write
    costs: dict[str, CostRecord]
    loads: dict[str, LoadRecord]

    def make(self, pieces: Sequence[Piece]) -> Iterator[tuple[Pair, str | None]]:
        """Make the files of some pieces; yields each pair with why it failed, None for one whose files are written.

        Raises:
            StorageError: a file cannot be written.
        """
        for piece in pieces:
            yield from self._make(piece)

    def _make(self, piece: Piece) -> Iterator[tuple[Pair, str | None]]:
        by_scene: dict[Scene, list[Pair]] = defaultdict(list)
        for pair in piece.pairs:
            by_scene[pair.scene].append(pair)
        first, hashes = piece.scene, dict(piece.music)
        try:
            mixture = first.read("mixture", hashes)
            kind, streaming = self.manifest.kind, self.manifest.streaming is not None
            separated = stems_of(self.running, kind, streaming, first, mixture, hashes)
        except ANYTHING as error:
            reason = reason_for(self.manifest.system, error)
            yield from ((pair, reason) for pair in piece.pairs)
            return
        self._keep(first.song, separated)
        for scene, pairs in by_scene.items():
            of_stems = scene.protocol == CAD1 and separated is not None
            remixed = None
            if separated is not None and not of_stems:
                remixed = separated.remix(self.manifest.chain, scene.gains, mixture)
            jobs = []
            for pair in pairs:
                if separated is not None and of_stems:
                    jobs.append((pair, self.pool.submit(self._write, partial(stem_files, separated.stems, pair))))
                    continue
                if remixed is not None:
                    make = partial(amplify, remixed, pair.listener)
                else:
                    try:
                        made = enhanced(self.running, streaming, mixture, pair.listener, scene.gains)
                    except ANYTHING as error:
                        yield pair, reason_for(self.manifest.system, error)
                        continue
                    self._keep(" ".join(pair.id), made)
                    make = partial(np.asarray, made.signal)
                files = partial(_remix_file, make, pair, self.manifest.soft_clip)
                jobs.append((pair, self.pool.submit(self._write, files)))
            for pair, job in jobs:
                try:
                    job.result()
                except SystemFailure as error:
                    yield pair, reason_for(self.manifest.system, error)
                else:
                    yield pair, None

    def _keep(self, piece: str, made: Separated | Enhanced | None) -> None:
        if made is not None and made.cost is not None:
            self.costs[piece[:300]] = CostRecord(**vars(made.cost))
        if made is not None and made.streamed is not None:
            self.loads[piece[:300]] = load_of(made.streamed.cpu, made.streamed.wall)

    def _write(self, make: Callable[[], Files]) -> None:
        """Write a pair's files, and record each.

        Recorded by the thread that wrote it: who interrupts us stops the main thread, perhaps between the file and
        its record, and the file would be made again.
        """
        for name, (content, clipped) in make().items():
            self.write(name, content, clipped)


def _remix_file(make: Callable[[], Signal], pair: Pair, soft_clip: bool) -> Files:
    """The remix of a pair. Raises SystemFailure if it is not finite, or silent."""
    signal = make()
    if not np.isfinite(signal).all():
        raise SystemFailure("its remix is not finite: what it returned is far too large")
    samples, clipped = to_remix_format(signal, soft_clip)
    if not samples.any():
        raise SystemFailure("its remix is silent: every sample is zero in 16 bit")
    return {pair.remix_name: (encode(samples), clipped)}
