"""Excerpts of songs: which there are, that they hold the song's samples, and whom their folder belongs to."""

import json

import numpy as np
import pyloudnorm
import pytest
import soundfile
from sets.songfiles import RATE, write_signal, write_song

from harness.challenge import STEMS
from harness.music.songs import read_segments
from harness.sets.cutting import SILENT_LUFS, wav
from harness.sets.songs import find_songs

SIGNALS = ("mixture", *STEMS)


def read(path):
    return soundfile.read(path, dtype="float64")[0]


def provenance(folder):
    return json.loads((folder / "metadata" / "provenance.excerpts.json").read_text())["set excerpts"]


@pytest.mark.parametrize(
    ("suffix", "subtype"), [("wav", "PCM_16"), ("flac", "PCM_24"), ("wav", "PCM_32"), ("wav", "FLOAT")]
)
def test_excerpts_hold_the_songs_samples(tmp_path, run_cli, suffix, subtype):
    written = write_song(tmp_path / "songs" / "Ä", 1.7, suffix, subtype)
    done = run_cli("set", "excerpts", "songs", "out", "--seconds", 0.5, "--json")
    assert done.code == 0, done.stderr
    names = ["Ä (0 s)", "Ä (0.5 s)", "Ä (1 s)"]
    assert [each["name"] for each in done.json["made"]] == names
    for number, name in enumerate(names):
        for signal in SIGNALS:
            path = tmp_path / "out" / name / f"{signal}.wav"
            first = number * RATE // 2
            assert np.array_equal(read(path), written[signal][first : first + RATE // 2])
            assert soundfile.info(path).subtype == subtype
    # They are songs themselves.
    assert [song.name for song in find_songs(tmp_path / "out").songs] == names
    assert find_songs(tmp_path / "out").ignored == ()


def test_windows_with_silent_stems_are_left_out(tmp_path, run_cli):
    song = tmp_path / "songs" / "a"
    written = write_song(song, 3.2)
    noise = np.random.default_rng(5).standard_normal((RATE, 2))
    noise *= 10 ** ((SILENT_LUFS - pyloudnorm.Meter(RATE).integrated_loudness(noise)) / 20)
    bass = written["bass"].copy()
    bass[:RATE] = 1.02 * noise
    bass[RATE : 2 * RATE] = 0.98 * noise
    write_signal(song / "bass.wav", bass, subtype="DOUBLE")
    drums = written["drums"].copy()
    drums[2 * RATE : 2 * RATE + RATE // 2] = 0  # silent for a while only
    write_signal(song / "drums.wav", drums, subtype="DOUBLE")
    done = run_cli("set", "excerpts", "songs", "out", "--seconds", 1)
    assert done.code == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a (0 s)", "a (2 s)", "metadata"]
    assert "left out, since stems are silent (1):\n  a (1 s): bass" in done.stderr
    assert done.stdout.startswith("2 excerpts of 1 song, 0.0 minutes, in ")
    noted = provenance(tmp_path / "out")
    [dropped] = noted["excerpts"]["dropped"]
    assert dropped == {"name": "a (1 s)", "song": "a", "start": 1.0, "end": 2.0, "samples": RATE, "silent": ["bass"]}
    assert noted["options"] == {"seconds": 1.0, "silent_below_lufs": SILENT_LUFS}
    assert any("-60 LUFS" in decision for decision in noted["decisions"])


def test_no_excerpt_at_all(tmp_path, run_cli):
    write_song(tmp_path / "songs" / "a", 1.0, silent=("bass",))
    done = run_cli("set", "excerpts", "songs", "out", "--seconds", 0.5)
    assert done.code == 2
    assert "no excerpt was made" in done.error
    assert "songs without any excerpt (1):\n  a" in done.stderr


def test_resampled_and_summed_songs(tmp_path, run_cli):
    write_song(tmp_path / "songs" / "a", 1.5, rate=48000)
    written = write_song(tmp_path / "songs" / "b", 1.5, names=STEMS)
    assert "a/bass.wav has a sample rate of 48000 Hz" in run_cli("set", "excerpts", "songs", "out").error
    done = run_cli("set", "excerpts", "songs", "out", "--seconds", 0.5, "--resample")
    assert done.code == 0, done.stderr
    assert provenance(tmp_path / "out")["resampled"] == ["a"]
    found = {song.name: song for song in find_songs(tmp_path / "songs", resample=True).songs}
    whole = found["a"].signals["drums"].read().astype(np.float32)
    assert np.array_equal(read(tmp_path / "out" / "a (0.5 s)" / "drums.wav"), whole[22050:44100])
    assert np.array_equal(read(tmp_path / "out" / "b (0.5 s)" / "mixture.wav"), written["mixture"][22050:44100])


def test_an_interrupted_folder_is_completed_and_until_then_not_taken(tmp_path, run_cli):
    write_song(tmp_path / "songs" / "a", 1.2)
    write_song(tmp_path / "songs" / "b", 1.2)
    first = ("set", "excerpts", "songs", "out", "--seconds", 0.5)
    assert run_cli(*first).code == 0
    out = tmp_path / "out"
    files = sorted(out.rglob("*.wav"))
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}
    noted = (out / "metadata" / "provenance.excerpts.json").read_text()

    # As a process leaves it that was killed while it wrote.
    (out / "metadata" / "provenance.excerpts.json").write_text(noted.replace('"complete": true', '"complete": false'))
    files[3].unlink()
    files[5].write_bytes(files[5].read_bytes()[:-2])
    (files[3].parent / ".partial-harness-abcdefgh").write_bytes(b"RIFF")
    refused = run_cli("set", "new", "root", "--songs", "out", "--listeners", 2, "--split", "x")
    assert refused.code == 2
    assert "its excerpts are not complete" in refused.error

    assert run_cli(*first).code == 0
    assert {path: path.read_bytes() for path in files} == {path: content for path, (content, _) in before.items()}
    kept = [path for path in files if path.stat().st_mtime_ns == before[path][1]]
    assert len(kept) == len(files) - 2
    assert not list(out.rglob(".partial*"))
    assert len(find_songs(out).songs) == 4

    noted = (out / "metadata" / "provenance.excerpts.json").stat()
    assert run_cli(*first).code == 0
    assert (out / "metadata" / "provenance.excerpts.json").stat() == noted


def test_a_folder_belongs_to_one_way_of_cutting(tmp_path, run_cli):
    write_song(tmp_path / "songs" / "a", 1.2)
    assert run_cli("set", "excerpts", "songs", "out", "--seconds", 0.5).code == 0
    other = run_cli("set", "excerpts", "songs", "out", "--seconds", 0.6)
    assert other.code == 2
    assert "made differently (options: seconds was 0.5, is 0.6): name another folder" in other.error
    write_song(tmp_path / "songs" / "b", 1.2)
    other = run_cli("set", "excerpts", "songs", "out", "--seconds", 0.5)
    assert "made differently (songs: b)" in other.error
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    other = run_cli("set", "excerpts", "songs", "full")
    assert other.code == 2
    assert "holds something else already" in other.error
    for wrong in ("songs", "songs/a", "songs/new", "."):
        other = run_cli("set", "excerpts", "songs", wrong)
        assert other.code == 2
        assert "lie in each other" in other.error


SEGMENTS = {
    "a": {
        "objective_evaluation": {"start": 0.30002, "end": 0.9, "duration": 0.6},
        "subjective_evaluation": {"start": 0.0, "end": 0.5, "duration": 0.5},
    }
}


def cad1_root(tmp_path, segments=SEGMENTS):
    written = write_song(tmp_path / "root" / "audio" / "musdb18hq" / "test" / "a", 1.2, silent=("vocals",))
    (tmp_path / "segments.json").write_text(json.dumps(segments))
    return written


def test_segments_are_cut_as_the_official_program_cuts(tmp_path, run_cli):
    written = cad1_root(tmp_path)
    done = run_cli("set", "excerpts", "root", "out", "--segments", "segments.json")
    assert done.code == 0, done.stderr
    assert "kept, though stems are silent (1):\n  a: vocals" in done.stderr
    # int(0.30002 * 44100) = 13230, and int(0.9 * 44100) = 39690
    assert np.array_equal(read(tmp_path / "out" / "a" / "drums.wav"), written["drums"][13230:39690])
    done = run_cli("set", "excerpts", "root", "panel", "--segments", "segments.json", "--which", "subjective")
    assert done.code == 0, done.stderr
    assert np.array_equal(read(tmp_path / "panel" / "a" / "mixture.wav"), written["mixture"][:22050])


def test_times_of_segments_are_truncated(tmp_path):
    segments = {"AM": {"objective_evaluation": {"start": 129.64, "end": 159.64}}}
    (tmp_path / "s.json").write_text(json.dumps(segments))
    # 129.64 * 44100 is 5717123.999999999 in binary.
    assert read_segments(tmp_path / "s.json") == {"AM": (5717123, 7040123)}
    assert 129.64 * 44100 < 5717124


def test_segments_that_do_not_fit(tmp_path, run_cli):
    cad1_root(tmp_path)

    def error(change, *options):
        (tmp_path / "segments.json").write_text(json.dumps(change))
        done = run_cli("set", "excerpts", "root", "out", "--segments", "segments.json", *options)
        assert done.code == 2
        return done.error

    assert "the part from sample 0 to 88200 is not in it" in error(
        {"a": {"objective_evaluation": {"start": 0.0, "end": 2.0}}}
    )
    assert "no song 'b', which" in error({"b": SEGMENTS["a"]})
    assert "no song '../../a', which" in error({"../../a": SEGMENTS["a"]})
    assert "before it starts" in error({"a": {"objective_evaluation": {"start": 1.0, "end": 0.5}}})
    assert "subjective_evaluation: Field required" in error(
        {"a": {"objective_evaluation": {"start": 0.0, "end": 0.5}}}, "--which", "subjective"
    )
    assert "objective or subjective" in error(SEGMENTS, "--which", "both")
    assert "goes without --seconds" in error(SEGMENTS, "--seconds", "3")


def test_files_of_floats_do_not_depend_on_the_time(monkeypatch):
    signal = np.random.default_rng(1).standard_normal((1000, 2))
    import time

    first = wav(signal, "FLOAT")
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert wav(signal, "FLOAT") == first
    assert b"PEAK" not in first[:100]
