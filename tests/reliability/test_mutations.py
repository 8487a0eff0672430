"""Damaged files by the hundred, with a fixed seed: each is judged or refused in one line, and no wrong music passes."""

import json
import random
import resource
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from reliability.mutations import mutated_flac, mutated_manifest, mutated_metadata, mutated_text
from support import FRAMES, SONGS, TinySet, TinySongs

from harness.challenge import CAD1
from harness.cli.verdicts import verdict_as_json
from harness.errors import DataError, SubmissionError
from harness.music.layout import load
from harness.submission.flac import read_remix
from harness.submission.manifest import MANIFEST, read_manifest
from harness.submission.protocols import form_of
from harness.submission.validation import judge

TIMES = 150
MAX_GROWTH_MB = 300


@pytest.fixture
def bounded_memory() -> Iterator[None]:
    """The process does not grow by what no damaged file may take."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MAX_GROWTH_MB * 1024


pytestmark = pytest.mark.usefixtures("must_not_hang", "bounded_memory")


def ensure_one_line(text: str) -> None:
    assert text
    assert "\n" not in text
    assert len(text) < 1500


def test_damaged_remixes(submission: Path, tiny_set: TinySet) -> None:
    draw = random.Random(1)
    whole = load(tiny_set.root)
    one = whole.select(["scene_V001"])
    path = submission / tiny_set.names[0]
    (submission / MANIFEST).unlink()
    good = path.read_bytes()
    samples = read_remix(path, FRAMES).samples
    outcomes: Counter[bool] = Counter()
    for _ in range(TIMES):
        path.write_bytes(changed := mutated_flac(draw, good))
        verdict = judge(submission, one)
        outcomes[verdict.valid] += 1
        json.dumps(verdict_as_json(verdict), allow_nan=False)
        assert verdict.valid is not any(problem.file == path.name for problem in verdict.problems)
        for problem in verdict.problems:
            ensure_one_line(problem.message)
        if verdict.valid:
            assert changed.startswith(b"fLaC")
            # Where a file still has its checksum, what passes is the same music with other tags.
            if any(changed[26:42]):
                assert np.array_equal(read_remix(path, FRAMES).samples, samples)
    assert outcomes[False] > TIMES / 2, "the mutations do no damage"


def test_damaged_stems_and_scale_factors(stems: Path, tiny_songs: TinySongs) -> None:
    draw = random.Random(5)
    whole = load(tiny_songs.root)
    one = whole.select([SONGS[0]])
    (stems / MANIFEST).unlink()
    outcomes: Counter[bool] = Counter()
    for _ in range(TIMES):
        path = stems / draw.choice(one.pairs[0].files)
        good = path.read_bytes()
        path.write_bytes(mutated_flac(draw, good) if path.suffix == ".flac" else mutated_text(draw, good))
        verdict = judge(stems, one)
        outcomes[verdict.valid] += 1
        json.dumps(verdict_as_json(verdict), allow_nan=False)
        assert verdict.valid is (verdict.content(one.pairs[0]) is not None)
        assert verdict.content(one.pairs[1]) is not None
        for problem in verdict.problems:
            ensure_one_line(problem.message)
        if verdict.valid:
            read = form_of(CAD1).read(stems, one.pairs[0])
            assert read.sha256 == verdict.content(one.pairs[0])
            assert isinstance(read.signals, dict)
            assert all(np.isfinite(signal).all() for signal in read.signals.values())
        path.write_bytes(good)
    assert outcomes[False] > TIMES / 3, "the mutations do no damage"


def test_damaged_manifests(submission: Path, tiny_set: TinySet) -> None:
    draw = random.Random(2)
    one = load(tiny_set.root).select(["scene_V001"])
    path = submission / MANIFEST
    document = json.loads(path.read_text())
    refused = 0
    for _ in range(TIMES):
        path.write_bytes(mutated_manifest(draw, document))
        verdict = judge(submission, one)
        json.dumps(verdict_as_json(verdict), allow_nan=False)
        for problem in verdict.problems:
            ensure_one_line(problem.message)
        try:
            manifest = read_manifest(submission)
        except SubmissionError as error:
            ensure_one_line(str(error))
            refused += 1
            continue
        assert manifest is not None
        # What is accepted can be stored, shown and written again.
        assert manifest.model_validate_json(manifest.to_bytes()) == manifest
        manifest.model_dump_json().encode()
        assert len(manifest.key) == 64
    assert refused > TIMES / 2, "the mutations do no damage"


def test_damaged_metadata(tiny_set: TinySet) -> None:
    draw = random.Random(3)
    names = ["gains", "scenes", "scene_listeners", "listeners", "at_mic_music", "musdb18"]
    documents = {tiny_set.metadata(name): json.loads(tiny_set.metadata(name).read_text()) for name in names}
    refused = 0
    for _ in range(TIMES):
        path = draw.choice(list(documents))
        path.write_bytes(mutated_metadata(draw, documents[path]))
        try:
            loaded = load(tiny_set.root)
            loaded.check_music(["vocals"])
            assert len(loaded.mixtures_sha256) == 64
            assert len({pair.remix_name.casefold() for pair in loaded.pairs}) == len(loaded.pairs)
        except DataError as error:
            ensure_one_line(str(error))
            refused += 1
        path.write_text(json.dumps(documents[path]))
    assert refused > TIMES / 3, "the mutations do no damage"
    load(tiny_set.root)
