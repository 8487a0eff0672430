"""Submissions of eight stems become stored scores: of every stem, by both engines, under their own evaluator."""

import csv
import hashlib
import json
import shutil
import sqlite3
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from stored import seal_scores
from support import SONGS, run_app

from harness.challenge import CAD1, EARS, PROTOCOL, STEMS
from harness.compute.local import LocalProcesses
from harness.haaqi import lock
from harness.haaqi.fast import pairs
from harness.music.evaluationset import Pair
from harness.music.songs import load_songs
from harness.scoring.rows import CAD1_COLUMNS
from harness.scoring.tasks import ScoreTask
from harness.scoring.tasks import score as scoring
from harness.submission.stems import stem_files
from harness_leaderboard import checks
from harness_leaderboard.store import Store


@pytest.fixture
def score(run_cli, tiny_songs, stems):
    """`score(*args)`: score a submission of stems with the fast engine, in this process."""
    return lambda *args: run_cli("score", stems, *tiny_songs.args, "--engine", "fast", "--workers", "1", *args)


def stored(folder, run=1):
    with Store.open(f"sqlite:///{folder / 'leaderboard.db'}", create=False) as store:
        return store.find_run(run, lock.fingerprint(CAD1))


@pytest.mark.slow
def test_every_stem_is_scored_stored_and_checked(score, run_cli, tiny_songs, tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "PARTS_PER_CHECK", 16)
    outcome = score("--csv", "scores.csv", "--json")
    assert outcome.code == 0, outcome.stderr
    result = outcome.json
    assert result["engine"].items() >= {"fast": 4, "parts": 32, "checked": 2, "checked_in_double": 2}.items()
    assert 0 < result["engine"]["largest_difference"] <= 1e-7
    run = stored(tmp_path)
    assert list(run.pairs) == tiny_songs.pairs
    for row in result["scores"]:
        kept = run.pairs[row["song"], row["listener"]]
        assert kept.score.stems == {name: row[name] for name in CAD1.signals}
        assert (row["scene"], row["left_score"], row["right_score"]) == (
            row["song"], kept.score.left, kept.score.right,
        )  # fmt: skip
        assert row["score"] == pytest.approx(np.mean([row[name] for name in CAD1.signals]), abs=1e-15)
    assert all(pair.locked is None and pair.fast.stems.keys() == set(CAD1.signals) for pair in run.pairs.values())
    made = [(check.by, pair.fast.stems[check.part], check) for pair in run.pairs.values() for check in pair.checks]
    assert sorted(by for by, *_ in made) == ["fast64", "fast64", "locked", "locked"]
    assert all(check.fast == stem and check.difference <= 1e-7 for _, stem, check in made)

    with (tmp_path / "scores.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert tuple(rows[0]) == CAD1_COLUMNS
    assert [tuple(row[:2]) for row in rows[1:]] == tiny_songs.pairs
    for row, same in zip(rows[1:], result["scores"], strict=True):
        assert [float(value) for value in row[2:]] == [same[name] for name in CAD1_COLUMNS[2:]]
        assert row[2:] == [str(float(value)) for value in row[2:]]

    audited = run_cli("runs", "audit", "1", *tiny_songs.args, "--sample", "1", "--workers", "1", "--json")
    assert audited.code == 0, audited.stderr
    assert audited.json["largest_difference"] <= 1e-7

    again = score("--json")
    assert "4 pairs are scored already" in again.stderr
    assert again.json["scores"] == result["scores"]


@pytest.mark.slow
def test_an_audit_looks_at_every_stem(score, run_cli, tiny_songs, tmp_path):
    assert score("--limit", "1").code == 0
    with sqlite3.connect(tmp_path / "leaderboard.db") as database:
        for (text,) in database.execute("SELECT DISTINCT stem_scores FROM scores").fetchall():
            # So that both ears' scores, which are means, stay what they are.
            found = json.loads(text)
            found["left_drums"] += 2e-6
            found["left_bass"] -= 2e-6
            changed = json.dumps(found, sort_keys=True, separators=(",", ":"))
            database.execute("UPDATE scores SET stem_scores = ? WHERE stem_scores = ?", (changed, text))
        database.execute("DELETE FROM summaries")
    with Store.open(f"sqlite:///{tmp_path / 'leaderboard.db'}", create=True) as store:
        seal_scores(store)
    audited = run_cli("runs", "audit", "1", *tiny_songs.args, "--sample", "1", "--workers", "1")
    assert audited.code == 1
    assert "of the left ear: stored" in audited.stderr


@pytest.mark.parametrize("by", ["the locked evaluator", "its double precision"])
def test_a_wrong_stem_stops_the_run(by, score, monkeypatch, tmp_path):
    lock.ensure_locked(CAD1)
    right = pairs.HaaqiFunction._score

    def wrong(self, ear):
        # The single precision of the left ear's bass.
        found = right(self, ear)
        return replace(found, score=found.score + 2e-6) if len(self.results) == 2 else found

    monkeypatch.setattr("harness.scoring.run.ensure_agreement", lambda _protocol: None)
    monkeypatch.setattr(pairs.HaaqiFunction, "_score", wrong)
    # All stems are checked, by the one or by the other.
    often = {"the locked evaluator": "PARTS_PER_CHECK", "its double precision": "SHARE_IN_DOUBLE"}
    monkeypatch.setattr(checks, often[by], 1)
    outcome = score("--limit", "1")
    assert outcome.code == 1
    assert "the fast engine gives the bass of the left ear" in outcome.error
    assert f", {by} 0." in outcome.error
    # Pairs of a scene may be scored together, before any of them is stored.
    disputed = [pair for pair in stored(tmp_path).pairs.values() if pair.disputed]
    assert [pair.difference for pair in disputed] == pytest.approx([2e-6] * len(disputed), rel=0.01)
    assert disputed


def test_a_silent_true_stem_fails_its_pairs_with_a_reason(run_cli, tiny_songs):
    vocals, rate = soundfile.read(tiny_songs.music("vocals"), dtype="int16")
    soundfile.write(tiny_songs.music("vocals"), vocals * np.int16([1, 0]), rate, subtype="PCM_16")
    outcome = run_cli(
        *("run", "--system", "centre", *tiny_songs.args, "--limit", "1", "--engine", "fast", "--workers", "1"),
        "--json",
    )
    assert outcome.code == 1
    reasons = {failure["reason"] for failure in outcome.json["failures"]}
    assert reasons == {"the true vocals of the right ear is silent: HAAQI is not defined for it"}
    assert outcome.json["scored"] == 0


def test_the_protocols_never_share_a_board(run_cli, score, tiny_set, submission):
    assert score("--limit", "1").code == 0
    result = run_cli("score", submission, *tiny_set.args, "--engine", "fast", "--workers", "1", "--limit", "1")
    assert result.code == 0, result.stderr
    rows = run_cli("leaderboard", "--json").json
    assert sorted(row["evaluator"] for row in rows) == sorted(map(lock.fingerprint, (PROTOCOL, CAD1)))
    assert len({row["evaluation_set_sha256"] for row in rows}) == 2


# Segments


def write_songs(root, music, segments=None):
    """An evaluation set of the first challenge with one listener, of 16-bit music by song and file."""
    metadata = root / "metadata"
    metadata.mkdir(parents=True)
    who = {
        "name": "V1",
        "audiogram_cfs": [250, 500, 1000, 2000, 3000, 4000, 6000, 8000],
        "audiogram_levels_l": [10, 15, 20, 25, 35, 40, 45, 50],
        "audiogram_levels_r": [15, 15, 25, 30, 40, 45, 50, 60],
    }
    (metadata / "listeners.valid.json").write_text(json.dumps({"V1": who}))
    (metadata / "musdb18.valid.json").write_text(json.dumps([{"Track Name": s, "Split": "valid"} for s in music]))
    if segments is not None:
        (metadata / "musdb18.segments.valid.json").write_text(json.dumps(segments))
    for song, files in music.items():
        folder = root / "audio" / "musdb18hq" / "train" / song
        folder.mkdir(parents=True)
        for name, signal in files.items():
            soundfile.write(folder / f"{name}.wav", signal, 44100, subtype="PCM_16")


def scored_by_the_truth(root):
    """The rows of a submission of the true stems, each with a tenth of the mixture in it."""
    found = load_songs(root, "valid", root.name)
    files = {}
    for scene in found.scenes:
        leaky = {name: 0.9 * stem + 0.1 * scene.read("mixture") for name, stem in scene.read_stems().items()}
        for who in scene.listeners:
            files |= {name: content for name, (content, _) in stem_files(leaky, Pair(scene, who)).items()}
    folder = root.with_name(f"{root.name}-submission")
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    manifest = {
        "format": 1, "system": "leaky", "version": "1", "class": "non-causal", "training_data": "none",
        "evaluation_set": {"name": root.name, "split": "valid"},
        "files": {name: {"sha256": hashlib.sha256(content).hexdigest()} for name, content in files.items()},
    }  # fmt: skip
    (folder / "submission.json").write_text(json.dumps(manifest))
    outcome = run_app("score", folder, "--data", root, "--engine", "fast", "--workers", "1", "--json")
    assert outcome.code == 0, outcome.stderr
    return outcome.json["scores"]


def test_a_segment_scores_as_the_cut_music_does(run_cli, tiny_songs, tmp_path):
    """Reference and submission are cut at the same samples, `int(seconds * 44100)`.

    NAL-R and the resampler reach over a cut. So this is exact only where the music around both ends of the segment is
    silent for longer than they reach; what lies beyond is loud, and would be heard if anything were cut elsewhere.
    """
    del run_cli
    # 0.35 s is sample 15434, not 15435: 0.35 * 44100 is 15434.999...
    start, end = 0.35, 0.95
    first, last = int(start * 44100), int(end * 44100)
    assert first == 15434
    pause, random = 600, np.random.RandomState(3)
    whole, cut = {}, {}
    for name in ("mixture", *STEMS):
        signal, _ = soundfile.read(tiny_songs.music(name), dtype="int16")
        inside = np.zeros((last - first, 2), np.int16)
        inside[pause:-pause] = signal[pause : last - first - pause]
        around = random.randint(-9000, 9000, (first + last + 9000, 2)).astype(np.int16)
        around[first - pause : last + pause] = 0
        around[first:last] = inside
        whole[name], cut[name] = around[: last + 9000], inside
    part = {"start": start, "end": end, "duration": 0.6}
    silent = {"start": 0.0, "end": 0.3, "duration": 0.3}
    parts = {"objective_evaluation": part, "subjective_evaluation": silent}
    write_songs(tmp_path / "whole", {SONGS[0]: whole}, {SONGS[0]: parts})
    write_songs(tmp_path / "cut", {SONGS[0]: cut})
    (of_segment,), (of_cut,) = (scored_by_the_truth(tmp_path / name) for name in ("whole", "cut"))
    for name in CAD1.signals:
        assert of_segment[name] == pytest.approx(of_cut[name], abs=1e-9), name
    assert all(0.2 < of_cut[f"{ear}_score"] < 1 for ear in EARS)


def test_a_segment_in_which_a_stem_is_silent_has_no_score(run_cli, tiny_songs):
    for name in ("mixture", *STEMS):
        signal, rate = soundfile.read(tiny_songs.music(name), dtype="int16")
        signal = np.concatenate([signal, signal])
        if name == "drums":
            signal[: len(signal) // 2] = 0
        for song in SONGS:
            soundfile.write(tiny_songs.music(name, song), signal, rate, subtype="PCM_16")
    tiny_songs.cut(0, 0.5)
    outcome = run_cli("run", "--system", "centre", *tiny_songs.args, "--engine", "fast", "--limit", "1", "--json")
    assert outcome.code == 1
    assert "the true drums of the left ear is silent" in outcome.json["failures"][0]["reason"]
    shutil.rmtree("submissions")
    tiny_songs.cut(0.65, 1.15)
    outcome = run_cli("run", "--system", "centre", *tiny_songs.args, "--engine", "fast", "--limit", "1", "--json")
    assert outcome.code == 0, outcome.stderr


def test_true_stems_are_enough_to_score_what_others_made(run_cli, score, tiny_songs):
    for song in SONGS:
        tiny_songs.music(song=song).unlink()
    outcome = score("--limit", "1", "--json")
    assert outcome.code == 0, outcome.stderr
    assert outcome.json["scored"] == 2
    assert run_cli("runs", "audit", "1", *tiny_songs.args, "--sample", "1", "--workers", "1").code == 0
    outcome = run_cli("run", "--system", "centre", *tiny_songs.args)
    assert (outcome.code, "no music file" in outcome.error, "mixture.wav" in outcome.error) == (2, True, True)
    tiny_songs.music("drums").unlink()
    outcome = score()
    assert (outcome.code, "no music file" in outcome.error, "drums.wav" in outcome.error) == (2, True, True)


def test_files_that_change_or_go_between_check_and_score_are_named(tiny_songs, stems):
    pair = load_songs(tiny_songs.root, "valid", "songs").pairs[0]

    def outcome():
        (([(_, found)], _),) = scoring([ScoreTask(pair, stems, "0" * 64, ())], LocalProcesses(1))
        return found

    assert outcome() == "one of its files has changed since it was checked: run the command again"
    name = CAD1.scale_name(*pair.id, "left_bass")
    (stems / name).unlink()
    assert outcome() == f"{name.rpartition('/')[2]} is gone: run the command again"
