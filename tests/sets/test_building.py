"""harness set new: sets are what `harness run` takes, are never half made, and never lose what somebody else wrote."""

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
from sets.songfiles import write_signal, write_song

from harness.challenge import CAD1, STEMS
from harness.music.layout import load
from harness.music.microphones import at_microphones, loudness
from harness.sets.draws import seeded
from harness.sets.gains import official_gains
from harness.sets.heads import KEMAR_POSITIONS, kemar_folder, read_impulse_responses, speaker_files

SIGNALS = ("mixture", *STEMS)
NAMES = ("a - one", "B - Zwei Größen")


@pytest.fixture
def songs(tmp_path):
    """Two songs, and what is in their files."""
    return {
        name: write_song(tmp_path / "songs" / name, suffix=suffix, seed=seed)
        for seed, (name, suffix) in enumerate(zip(NAMES, ("wav", "flac"), strict=True))
    }


@pytest.fixture
def new(run_cli):
    """`new(*options)`: harness set new root --songs songs --listeners 3 --split mine ..."""

    def run(*options, root="root", split="mine", listeners=3):
        return run_cli("set", "new", root, "--songs", "songs", "--listeners", listeners, "--split", split, *options)

    return run


def metadata(root, name):
    return json.loads((root / "metadata" / name).read_text())


def content(root):
    """All files of a set by path, but for what tells of how it was made."""
    return {
        path.relative_to(root): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.startswith(("provenance.", "made."))
    }


def test_a_set_at_the_microphones(tmp_path, songs, new):
    done = new("--json")
    assert done.code == 0, done.stderr
    root = tmp_path / "root"
    loaded = load(root, "mine")
    assert (done.json["scenes"], done.json["pairs"]) == (8, 16)
    assert len(loaded.scenes) == 8
    assert len(loaded.pairs) == 16
    loaded.check_music(STEMS)
    # The official draws: seeded by the song, a set of gains, then a position, and neither twice.
    scenes = metadata(root, "scenes.mine.json")
    assert list(scenes) == [f"scene_{number}" for number in range(10001, 10009)]
    for place, name in enumerate(NAMES):
        state = seeded(name)
        gains, positions = list(official_gains()), list(KEMAR_POSITIONS)
        for scene in list(scenes.values())[4 * place : 4 * place + 4]:
            gain = gains.pop(state.permutation(len(gains))[0])
            position = positions.pop(state.permutation(len(positions))[0])
            assert scene == {"music": name, "gain": gain, "head_loudspeaker_positions": position}
    listeners = list(metadata(root, "listeners.mine.json"))
    state = seeded("icassp2024")
    for drawn in metadata(root, "scene_listeners.mine.json").values():
        assert drawn == [listeners[number] for number in state.permutation(3)[:2]]
    # The music: the official program's, from what was read.
    for scene in loaded.scenes:
        speakers = map(read_impulse_responses, speaker_files(kemar_folder(), KEMAR_POSITIONS[scene.position]))
        left, right = speakers
        for signal_name in SIGNALS:
            music = songs[scene.track][signal_name]
            expected = at_microphones(music, loudness(music), left, right).samples
            samples, rate = soundfile.read(scene.folder / f"{signal_name}.wav", dtype="int16")
            assert rate == 44100
            assert np.array_equal(samples, expected)
    assert next(iter(metadata(root, "at_mic_music.mine.json").values())) == {
        "Track Name": f"a - one-{loaded.scenes[0].position}",
        "Split": "mine",
        "Path": f"mine/a - one-{loaded.scenes[0].position}",
        "Original Track Name": "a - one",
        "Head Position": loaded.scenes[0].position,
    }


def test_a_set_for_headphones(tmp_path, songs, new):
    done = new("--positions", "headphones", "--gains", "none")
    assert done.code == 0, done.stderr
    assert "2 scenes of 2 songs, 4 scene-listener pairs; 2 pieces of music made, 0 kept" in done.stdout
    root = tmp_path / "root"
    for scene, name in zip(load(root).scenes, NAMES, strict=True):
        assert scene.position is None
        assert set(scene.gains.values()) == {0}
        for signal_name in SIGNALS:
            assert np.array_equal(scene.read(signal_name), songs[name][signal_name])
    assert sorted(path.name for path in (root / "metadata").iterdir()) == [
        "gains.json",
        "listeners.mine.json",
        "made.mine.jsonl",
        "musdb18.mine.json",
        "provenance.mine.json",
        "scene_listeners.mine.json",
        "scenes.mine.json",
    ]


@pytest.mark.parametrize(("split", "half"), [("valid", "train"), ("test", "test")])
def test_a_set_of_the_first_challenge(tmp_path, songs, new, split, half):
    done = new("--protocol", "cad1", split=split)
    assert done.code == 0, done.stderr
    assert "2 songs, 6 song-listener pairs" in done.stdout
    loaded = load(tmp_path / "root")
    assert loaded.protocol == CAD1
    for scene, name in zip(loaded.scenes, NAMES, strict=True):
        assert scene.folder == tmp_path / "root" / "audio" / "musdb18hq" / half / name
        assert np.array_equal(scene.read("bass"), songs[name]["bass"])
    refused = new("--protocol", "cad1", "--gains", "none")
    assert refused.code == 2
    assert "--gains does not go with --protocol cad1" in refused.error


def test_only_what_is_missing_or_changed_is_made(tmp_path, songs, new):
    assert new().code == 0
    root = tmp_path / "root"
    before = content(root)
    stamps = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    again = new("--json")
    assert again.code == 0
    assert (again.json["made"], again.json["written"]) == ([], [])
    # The provenance, too: nothing was made.
    assert {path: path.stat().st_mtime_ns for path in stamps if path.suffix != ".jsonl"} == {
        path: stamp for path, stamp in stamps.items() if path.suffix != ".jsonl"
    }
    # Something is lost, something damaged.
    folders = sorted((root / "audio" / "at_mic_music" / "mine").iterdir())
    (folders[1] / "bass.wav").unlink()
    (folders[3] / "vocals.wav").write_bytes((folders[3] / "drums.wav").read_bytes())
    again = new("--json")
    assert sorted(again.json["made"]) == sorted([folders[1].name, folders[3].name])
    assert content(root) == before
    # A song is changed: its pieces are made again.
    song = tmp_path / "songs" / NAMES[0]
    write_signal(song / "bass.wav", songs[NAMES[0]]["bass"] / 2)
    again = new("--json")
    assert len(again.json["made"]) == 4
    assert all(name.startswith(NAMES[0]) for name in again.json["made"])


def test_other_options_make_another_set_in_its_place(tmp_path, songs, new):
    assert new().code == 0
    root = tmp_path / "root"
    first = load(root).sha256
    done = new("--seed", "another", "--json")
    assert done.code == 0, done.stderr
    assert done.json["made"] == []
    assert load(root).sha256 != first
    done = new("--per-song", 2)
    assert "4 scenes of 2 songs" in done.stdout
    assert "not part of the set any more; remove it if you like (4):" in done.stderr
    assert new("--positions", "headphones").code == 0
    assert not (root / "metadata" / "at_mic_music.mine.json").exists()
    assert not (root / "metadata" / "head_loudspeaker_positions.json").exists()
    assert load(root).scenes[0].position is None
    assert new().code == 0
    assert load(root).sha256 == first


def test_what_somebody_else_wrote_stays(tmp_path, songs, new, tiny_set):
    before = content(tiny_set.root)
    for split in ("valid", "mine"):
        refused = new(root=tiny_set.root, split=split)
        assert refused.code == 2
        assert "choose another ROOT" in refused.error
    assert "of another challenge" in new("--protocol", "cad1", root=tiny_set.root, split="mine").error
    assert content(tiny_set.root) == before


def test_splits_share_gains_and_positions(tmp_path, songs, new):
    assert new(split="one").code == 0
    assert new("--seed", "x", split="two").code == 0
    assert len(load(tmp_path / "root", "one").scenes) == len(load(tmp_path / "root", "two").scenes) == 8
    refused = new("--gains", "none", split="two")
    assert refused.code == 2
    assert "gains.json is also that of the split one, and would change" in refused.error


def test_a_positions_file_under_its_other_name_is_shared_too(tmp_path, songs, new):
    assert new(split="one").code == 0
    folder = tmp_path / "root" / "metadata"
    other = (folder / "head_loudspeaker_positions.json").rename(folder / "head_positions.json")
    assert new("--seed", "x", split="two").code == 0
    positions = json.loads(other.read_text())
    positions["hlp_0001"]["left_angle"] = -20.0 if positions["hlp_0001"]["left_angle"] != -20.0 else -25.0
    other.write_text(json.dumps(positions))
    refused = new(split="three")
    assert refused.code == 2
    assert "head_positions.json is also that of the split one, and would change" in refused.error
    assert not (folder / "head_loudspeaker_positions.json").exists()


def test_music_that_cannot_be_made_leaves_no_set(tmp_path, songs, new):
    bass = songs[NAMES[0]]["bass"].copy()
    bass[5] = np.nan
    path = tmp_path / "songs" / NAMES[0] / "bass.wav"
    soundfile.write(path, bass, 44100, subtype="FLOAT")
    done = new()
    assert done.code == 1
    assert done.error.startswith("4 of 8 pieces of music could not be made; what was made is kept:\n  a - one-hlp_")
    assert f"{path} holds samples that are not finite" in done.error
    assert not (tmp_path / "root" / "metadata" / "scenes.mine.json").exists()
    write_signal(path, songs[NAMES[0]]["bass"])
    done = new("--json")
    assert done.code == 0, done.stderr
    assert len(done.json["made"]) == len(done.json["kept"]) == 4


def test_loud_silent_and_resampled_songs(tmp_path, run_cli):
    loud = write_song(tmp_path / "songs" / "loud", names=STEMS, silent=("vocals",))
    write_signal(tmp_path / "songs" / "loud" / "drums.wav", loud["drums"] * 20, subtype="FLOAT")
    write_song(tmp_path / "songs" / "video", rate=48000)
    command = ("set", "new", "root", "--songs", "songs", "--listeners", 2, "--split", "mine")
    options = ("--positions", "headphones", "--gains", "none")
    refused = run_cli(*command, *options)
    assert refused.code == 2
    assert "48000 Hz, expected 44100 Hz: convert it, or have it resampled with --resample" in refused.error
    assert not (tmp_path / "root").exists()
    done = run_cli(*command, *options, "--resample")
    assert done.code == 0, done.stderr
    assert "silent, or too quiet to have a loudness: zeros (1):\n  loud: vocals" in done.stderr
    expected = int((np.abs(loud["drums"] * 20) * 32768 > 32767).sum())  # nothing lies at -32768 to the sample
    assert f"loud: drums {expected} samples, mixture " in done.stderr
    noted = metadata(tmp_path / "root", "provenance.mine.json")["set new"]
    assert (noted["resampled"], noted["summed"]) == (["video"], ["loud"])
    assert noted["clipped"]["loud"]["drums"] == expected
    assert load(tmp_path / "root").scenes[0].read("drums").max() == 32767 / 32768


def test_own_listeners_gains_and_heads(tmp_path, songs, new, run_cli):
    levels = {"audiogram_cfs": [250, 500, 1000, 2000, 4000, 6000]}
    levels |= {"audiogram_levels_l": [20] * 6, "audiogram_levels_r": [30] * 6}
    (tmp_path / "ears.json").write_text(json.dumps({name: {"name": name, **levels} for name in ("X1", "X2")}))
    gains = {"louder": {"vocals": 6.5, "drums": 0, "bass": 0, "other": 0}}
    (tmp_path / "gains.json").write_text(json.dumps(gains))
    position = {"subject": "KEMAR", "left_angle": -30, "right_angle": 30.0, "mic": "ear"}
    (tmp_path / "heads.json").write_text(json.dumps({"here": position}))
    options = ("--gains", "gains.json", "--positions", "heads.json")
    refused = new(*options, listeners="ears.json")
    assert refused.code == 2
    assert "root/audio/hrtf with the heads' impulse responses: name it with --hrtf" in refused.error
    done = new(*options, "--hrtf", kemar_folder(), listeners=tmp_path / "ears.json")
    assert done.code == 0, done.stderr
    [one, two] = load(tmp_path / "root").scenes
    assert [who.id for who in one.listeners] == ["X1", "X2"]
    assert one.gains == two.gains == gains["louder"]
    assert one.angles == (-30, 30)
    assert metadata(tmp_path / "root", "gains.json") == gains
    # The provenance says which files, and nothing of the folders of this machine.
    assert str(tmp_path) not in (tmp_path / "root" / "metadata" / "provenance.mine.json").read_text()
    assert metadata(tmp_path / "root", "provenance.mine.json")["set new"]["options"]["listeners"] == "ears.json"
    (tmp_path / "heads.json").write_text(json.dumps({"here": position | {"left_angle": 30}}))
    refused = new(*options, "--hrtf", kemar_folder(), listeners="ears.json", root="other")
    assert refused.code == 2
    assert "here: left_angle is 30, expected -180 to 0" in refused.error


WRONG = [
    ("--split", "a/b", "expected letters, digits"),
    ("--split", "..", "expected letters, digits"),
    ("--gains", "nofile.json", "no such file; official or none will do as well"),
    ("--positions", "nofile.json", "no such file; headphones or kemar will do as well"),
    ("--per-song", "26", "choose --per-song 25 or less"),
    ("--protocol", "cad2", "there is no such protocol, choose cad_icassp_2024 or cad1"),
    ("--hrtf", "songs", "--hrtf goes with --positions FILE"),
    ("--songs", "nowhere", "no such folder"),
    ("--songs", ".", "holds no song: expected <song>/{mixture,vocals,drums,bass,other}.wav or .flac"),
    ("--listeners", "nobody", "nobody"),
]


@pytest.mark.parametrize(("option", "value", "expected"), WRONG)
def test_wrong_use(tmp_path, songs, new, option, value, expected):
    refused = new(option, value)
    assert refused.code == 2
    assert expected in refused.error
    assert not (tmp_path / "root").exists()


def test_the_songs_folder_is_never_written_to(tmp_path, songs, new):
    before = content(tmp_path / "songs")
    for root in ("songs", "songs/root", f"songs/{NAMES[0]}"):
        refused = new(root=root)
        assert refused.code == 2
        assert "lie in each other: choose another" in refused.error
    assert new().code == 0
    assert content(tmp_path / "songs") == before


def test_a_disk_that_is_full(tmp_path, songs, new):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # less than a file of music takes
    try:
        done = new("--workers", 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert done.code == 1
    assert "cannot write" in done.error
    assert "run the same command again: it continues" in done.error
    assert not list((tmp_path / "root").rglob("*.wav"))
    assert not list((tmp_path / "root").rglob(".partial*"))
    assert new().code == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_root_that_cannot_be_written(tmp_path, songs, new):
    (tmp_path / "root").mkdir(mode=0o555)
    done = new()
    assert done.code == 1
    assert "cannot write" in done.error


def test_a_root_that_is_a_file(tmp_path, songs, new):
    (tmp_path / "root").touch()
    done = new()
    assert done.code == 1
    assert "cannot use the folder" in done.error


@pytest.mark.slow
@pytest.mark.parametrize(("how", "workers"), [(signal.SIGINT, 2), (signal.SIGKILL, 1)])
def test_interruption_at_any_point(tmp_path, how, workers):
    for number in range(6):
        write_song(tmp_path / "songs" / f"song {number}", 0.6, seed=number)
    command = [sys.executable, "-m", "harness", "set", "new", "root", "--songs", "songs", "--listeners", "2"]
    command += ["--split", "mine", "--workers", str(workers)]
    whole = subprocess.run(
        [*command[:5], "whole", *command[6:]], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert whole.returncode == 0, whole.stderr
    stopped = 0
    for music in (0, 3, 40, 119):
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        while process.poll() is None and len(list((tmp_path / "root").rglob("*.wav"))) < music:
            time.sleep(0.001)
        process.send_signal(how)
        _, stderr = process.communicate(timeout=60)
        assert "Traceback" not in stderr
        if process.returncode:
            stopped += 1
            assert process.returncode in ((130, -how) if how == signal.SIGINT else (-how,))  # -how: Python was starting
            # Never a set of which a part is missing.
            if (tmp_path / "root" / "metadata" / "scenes.mine.json").exists():
                load(tmp_path / "root").check_music(STEMS)
    assert stopped >= 2  # the last may have been too late
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert content(tmp_path / "root") == content(tmp_path / "whole")
