"""Songs are found in folders; everything that is wrong with any of them is said at once."""

import unicodedata

import numpy as np
import pytest
from sets.songfiles import write_signal, write_song

from harness.challenge import STEMS
from harness.errors import DataError, UsageError
from harness.sets.named import named_songs
from harness.sets.songs import find_songs, tracklist_of


def test_songs_of_the_layout_folders(tmp_path):
    write_song(tmp_path / "b", suffix="flac")
    written = write_song(tmp_path / "A", names=STEMS)
    write_song(tmp_path / "c.1 (live)")
    (tmp_path / "notes.txt").touch()
    (tmp_path / "b" / "cover.jpg").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / ".hidden").mkdir()
    found = find_songs(tmp_path)
    assert [song.name for song in found.songs] == ["A", "b", "c.1 (live)"]
    assert found.ignored == ("b/cover.jpg", "empty", "notes.txt")
    assert found.summed == ("A",)
    song = found.songs[0]
    assert list(song.signals) == ["mixture", *STEMS]
    assert np.array_equal(song.signals["mixture"].read(), written["mixture"])
    assert np.array_equal(song.signals["drums"].read(), written["drums"])


def test_songs_of_the_layout_musdb18hq(tmp_path):
    for half, name in (("train", "One"), ("train", "two"), ("test", "Three")):
        write_song(tmp_path / half / name)
    assert [song.name for song in find_songs(tmp_path).songs] == ["One", "Three", "two"]
    assert [song.name for song in find_songs(tmp_path, split="train").songs] == ["One", "two"]
    assert [song.name for song in find_songs(tmp_path, "musdb18hq", split="test").songs] == ["Three"]
    with pytest.raises(UsageError, match=r"the splits are train and test; .* --songs .*test --layout folders"):
        find_songs(tmp_path, split="valid")
    assert [song.name for song in find_songs(tmp_path / "test", split="valid").songs] == ["Three"]


def test_names_are_composed_whatever_the_disk_has(tmp_path):
    name = "Käthe - Überall"
    write_song(tmp_path / unicodedata.normalize("NFD", name))
    (song,) = find_songs(tmp_path).songs
    assert song.name == unicodedata.normalize("NFC", name)
    assert len(song.signals["bass"].read())


def problems(folder, **about):
    with pytest.raises(DataError) as caught:
        find_songs(folder, **about)
    return str(caught.value)


def test_all_problems_at_once(tmp_path):
    write_song(tmp_path / "fine")
    write_song(tmp_path / "no bass", names=("mixture", "vocals", "drums", "other"))
    write_song(tmp_path / "48", rate=48000)
    write_song(tmp_path / "unequal")
    write_signal(tmp_path / "unequal" / "vocals.wav", np.zeros((30000, 2)))
    write_song(tmp_path / "twice")
    (tmp_path / "twice" / "Drums.FLAC").touch()
    write_song(tmp_path / "mono")
    write_signal(tmp_path / "mono" / "other.wav", np.zeros(26460))
    write_song(tmp_path / "control\x1b[31m")
    write_song(tmp_path / ("ö" * 80))
    write_song(tmp_path / "Fine")
    text = problems(tmp_path)
    lines = text.split("\n  ")
    assert lines[0] == f"{tmp_path}: these songs cannot be used:"
    for expected in (
        "no bass lacks bass: expected vocals, drums, bass, other as .wav or .flac",
        "48/mixture.wav has a sample rate of 48000 Hz",
        "unequal: its files differ in length or rate (mixture 26460 at 44100 Hz, vocals 30000 at 44100 Hz",
        "twice holds both Drums.FLAC and drums.wav: remove one of them",
        "mono/other.wav is mono, expected stereo",
        "control\\x1b[31m: the name of a song has printable characters only",
        f"{'ö' * 80}: the name of a song has at most 150 bytes: shorten it",
        "Fine and fine have the same name but for case or form: rename one of them",
    ):
        assert sum(expected in line for line in lines[1:]) == 1, expected
    assert "\x1b" not in text
    assert sum(line.startswith(f"{tmp_path}/48/") for line in lines) == 5


def test_many_problems_are_cut_short(tmp_path):
    for number in range(30):
        write_song(tmp_path / f"{number:02}", seconds=0.4, names=("vocals",))
    lines = problems(tmp_path).split("\n  ")
    assert len(lines) == 22
    assert lines[-1] == "... and 10 more"


def test_links_lead_nowhere_but_into_the_songs(tmp_path):
    write_song(tmp_path / "elsewhere" / "x")
    songs = tmp_path / "songs"
    write_song(songs / "real")
    (songs / "linked").symlink_to("real")
    assert [song.name for song in find_songs(songs).songs] == ["linked", "real"]
    (songs / "out").symlink_to(tmp_path / "elsewhere" / "x")
    assert "songs/out is a link that leads out of" in problems(songs)
    (songs / "out").unlink()
    (songs / "real" / "bass.wav").unlink()
    (songs / "real" / "bass.wav").symlink_to(tmp_path / "elsewhere" / "x" / "bass.wav")
    assert "bass.wav is a link that leads out of" in problems(songs)


def test_folders_without_songs(tmp_path):
    with pytest.raises(UsageError, match="no such folder"):
        find_songs(tmp_path / "none")
    assert "holds no song: expected <song>/{mixture,vocals,drums,bass,other}.wav or .flac (layout folders)" in problems(
        tmp_path
    )
    (tmp_path / "train").mkdir()
    assert "expected {train,test}/<song>/" in problems(tmp_path)
    with pytest.raises(UsageError, match="there is no such layout, choose folders or musdb18hq"):
        find_songs(tmp_path, "stems")


def test_what_is_known_of_songs(tmp_path):
    for name in ("Jokers, Jacks & Kings - Sea Of Leaves", "Unknown"):
        write_song(tmp_path / name)
    about = {"Genre": "Pop/Rock", "Source": "DSD", "License": "Restricted"}
    (tmp_path / "tracklist.csv").write_bytes(tracklist_of({"Jokers Jacks & Kings - Sea Of Leaves": about}))
    assert [song.about for song in find_songs(tmp_path).songs] == [about, {}]
    (tmp_path / "tracklist.csv").write_text("Song;Genre\nUnknown;Rock\n")
    assert "has no column 'Track Name'" in problems(tmp_path)
    (tmp_path / "tracklist.csv").write_bytes(b"Track Name,Genre\n\xff\xfe,x\n")
    assert "cannot be read as CSV" in problems(tmp_path)


def test_the_embedded_excerpt_as_a_song():
    (song,) = named_songs("demo", None, False).songs
    assert song.name == "The Easton Ellises - Falcon 69"
    assert song.about["License"] == "CC BY-NC-SA 3.0"
    signals = {name: source.read() for name, source in song.signals.items()}
    assert {len(signal) for signal in signals.values()} == {len(signals["mixture"])}
    error = signals["mixture"] - sum(signals[stem] for stem in STEMS)
    assert np.sqrt(np.mean(error**2)) < 0.1 * np.sqrt(np.mean(signals["mixture"] ** 2))
    with pytest.raises(UsageError, match="goes with a folder of songs"):
        named_songs("demo", "musdb18hq", False)
