"""Music at the microphones: the official program's files, and what becomes of runs that are interrupted or go wrong."""

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sets.official import run_official

from harness.challenge import PROTOCOL, STEMS
from harness.sets.journal import journal_file, read_journal

GOLDEN = Path(__file__).parents[3] / "shared" / "golden_data" / "at_mic"
needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the golden data is not beside this checkout")

FILES = ("mixture", *STEMS)
HEADS = {"BTE_fr-VP_E1-n37.5": 1, "BTE_fr-VP_E1-p22.5": 2, "BTE_fr-VP_E1-n30.0": 3, "BTE_fr-VP_E1-p30.0": 4}
POSITIONS = {
    "hlp_0001": {"subject": "VP_E1", "left_angle": -37.5, "right_angle": 22.5, "mic": "BTE_fr"},
    "hlp_0002": {"subject": "VP_E1", "left_angle": -30.0, "right_angle": 30.0, "mic": "BTE_fr"},
}
QUIET, LOUD, SILENT = "Quiet bass", "Löud", "Silent vocals"
SCENES = [(QUIET, "hlp_0001"), (LOUD, "hlp_0001"), (SILENT, "hlp_0002"), (LOUD, "hlp_0002"), (QUIET, "hlp_0001")]
PIECES = ["Quiet bass-hlp_0001", "Löud-hlp_0001", "Silent vocals-hlp_0002", "Löud-hlp_0002"]


def write(root, name, content):
    (root / "metadata").mkdir(parents=True, exist_ok=True)
    (root / "metadata" / name).write_text(json.dumps(content))


def make_root(root, split="train", seconds=0.6):
    """Three songs and two heads: a mixture that clips, a silent stem, one below the gate, a scene that comes twice."""
    random = np.random.default_rng(1)
    scenes = {
        f"scene_{n}": {"music": m, "gain": "g", "head_loudspeaker_positions": p} for n, (m, p) in enumerate(SCENES)
    }
    write(root, f"scenes.{split}.json", scenes)
    songs = [QUIET, LOUD, SILENT]
    write(
        root,
        f"musdb18.{split}.json",
        [{"Track Name": song, "Split": split, "Path": f"{split}/{song}"} for song in songs],
    )
    write(root, "head_loudspeaker_positions.json", POSITIONS)
    frames = round(seconds * PROTOCOL.sample_rate)
    for song in songs:
        folder = root / "audio" / "music" / split / song
        folder.mkdir(parents=True)
        for name in FILES:
            level = {LOUD: 0.3}.get(song, 0.05)
            signal = level * random.standard_normal((frames, 2))
            if (song, name) == (SILENT, "vocals"):
                signal *= 0
            elif (song, name) == (QUIET, "bass"):
                signal = 1e-4 * random.standard_normal((frames, 2))  # 16 bit still hold some of it
            soundfile.write(folder / f"{name}.wav", signal, PROTOCOL.sample_rate, subtype="PCM_16")
    (root / "audio" / "hrtf").mkdir()
    for name, seed in HEADS.items():
        random = np.random.default_rng(seed)
        taps = random.standard_normal((235, 2)) * np.exp(-np.arange(235) / 20)[:, None]
        soundfile.write(root / "audio" / "hrtf" / f"{name}.wav", taps, PROTOCOL.sample_rate, subtype="FLOAT")
    return root


@pytest.fixture(scope="session")
def _made_root(tmp_path_factory):
    return make_root(tmp_path_factory.mktemp("at_mic") / "root")


@pytest.fixture
def root(_made_root, tmp_path):
    """An evaluation set in the making of the test's own."""
    return Path(shutil.copytree(_made_root, tmp_path / "root"))


@pytest.fixture
def at_mic(run_cli):
    """`at_mic(root, *options)`: run `harness set at-mic` in this process."""
    return lambda root, *options: run_cli("set", "at-mic", root, "--workers", 1, *options)


def content(root):
    """All music that was made, by path."""
    folder = root / "audio" / "at_mic_music"
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def listed(root, split="train"):
    return (root / "metadata" / f"at_mic_music.{split}.json").read_bytes()


def music(root, song=LOUD, name="drums"):
    return root / "audio" / "music" / "train" / song / f"{name}.wav"


def provenance(root):
    return json.loads((root / "metadata" / "provenance.train.json").read_text())


def times(root):
    return {path: path.stat().st_mtime_ns for path in (root / "audio" / "at_mic_music").rglob("*.wav")}


@pytest.mark.parametrize("split", ["train", "valid"])
@pytest.mark.filterwarnings("ignore")
def test_files_and_list_are_those_of_the_official_program(tmp_path, at_mic, split):
    root = make_root(tmp_path / "root", split)
    done = at_mic(root, "--split", split, "--output", tmp_path / "ours", "--json")
    assert done.code == 0, done.stderr
    assert (done.json["made"], done.json["kept"], done.json["failed"]) == (4, 0, 0)
    assert done.json["silent"] == {"Quiet bass-hlp_0001": ["bass"], "Silent vocals-hlp_0002": ["vocals"]}
    assert done.json["clipped"]["Löud-hlp_0001"]["mixture"] > 10

    run_official(
        "generate_at_mic_musdb18",
        root,
        f"path.scene_file={root}/metadata/scenes.{split}.json",
        f"path.music_file={root}/metadata/musdb18.{split}.json",
        f"path.output_music_file={root}/metadata/at_mic_music.{split}.json",
    )
    assert content(tmp_path / "ours") == content(root)
    assert listed(tmp_path / "ours", split) == listed(root, split)
    assert list(json.loads(listed(root, split))) == PIECES


@needs_golden
def test_files_and_list_are_the_golden_ones(tmp_path, run_cli):
    done = run_cli("set", "at-mic", GOLDEN, "--output", tmp_path / "ours", "--workers", 2)
    assert done.code == 0, done.stderr
    assert content(tmp_path / "ours") == content(GOLDEN)
    assert listed(tmp_path / "ours") == listed(GOLDEN)


def test_what_is_there_is_kept_and_only_what_changed_is_made(root, at_mic):
    assert at_mic(root).code == 0
    before, then = content(root), times(root)
    again = at_mic(root, "--json")
    assert (again.json["made"], again.json["kept"]) == (0, 4)
    assert times(root) == then
    assert again.json["silent"] == {"Quiet bass-hlp_0001": ["bass"], "Silent vocals-hlp_0002": ["vocals"]}

    # Another song in place of one: both of its pieces are made again.
    shutil.copy(music(root, SILENT), music(root, LOUD))
    changed = at_mic(root, "--json")
    assert (changed.json["made"], changed.json["kept"]) == (2, 2)
    # Another head.
    hrtf = root / "audio" / "hrtf"
    shutil.copy(hrtf / "BTE_fr-VP_E1-n30.0.wav", hrtf / "BTE_fr-VP_E1-n37.5.wav")
    assert at_mic(root, "--json").json["made"] == 2
    assert content(root) != before


@pytest.mark.parametrize("damage", ["truncated", "foreign", "missing", "journal", "journal's last line", "link"])
def test_damaged_foreign_and_missing_files_are_made_again(root, at_mic, damage):
    assert at_mic(root).code == 0
    before = content(root)
    folder = root / "audio" / "at_mic_music" / "train" / "Löud-hlp_0001"
    victim, journal = folder / "vocals.wav", journal_file(root, "train")
    expected = 1
    if damage == "truncated":
        victim.write_bytes(victim.read_bytes()[:-2])
    elif damage == "foreign":
        shutil.copy(folder / "drums.wav", victim)
    elif damage == "missing":
        victim.unlink()
    elif damage == "journal":
        journal.write_bytes(b"\xff\x00{[\n" * 5)
        expected = 4
    elif damage == "journal's last line":
        lines = journal.read_bytes().splitlines()
        journal.write_bytes(b"\n".join([*lines[:-1], lines[-1][: len(lines[-1]) // 2]]))
    else:
        other = root / "other.wav"
        other.write_bytes(b"somebody's")
        victim.unlink()
        victim.symlink_to(other)
    done = at_mic(root, "--json")
    assert (done.code, done.json["made"]) == (0, expected)
    assert content(root) == before
    assert damage != "link" or other.read_bytes() == b"somebody's"
    assert at_mic(root, "--json").json["made"] == 0


def test_leftovers_of_a_killed_run_go(root, at_mic):
    folder = root / "audio" / "at_mic_music" / "train" / "Löud-hlp_0001"
    folder.mkdir(parents=True)
    (folder / ".partial-harness-abcdefgh").write_bytes(b"half")
    assert at_mic(root).code == 0
    assert len(list(folder.iterdir())) == 5


def start(root, workers=2, largest_file=resource.RLIM_INFINITY):
    def prepare():
        # Whoever runs the tests in the background has SIGINT ignored, and children inherit that; a terminal has not.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))

    return subprocess.Popen(
        [sys.executable, "-m", "harness", "set", "at-mic", str(root), "--workers", str(workers)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=prepare,
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_run_continues(tmp_path, at_mic, number):
    """Stopped when one piece is noted in the journal: nothing is half there, and the next run makes the rest."""
    root = make_root(tmp_path / "root", seconds=8)
    process = start(root)
    journal = journal_file(root, "train")
    deadline = time.monotonic() + 120
    while not read_journal(journal):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
    _, stderr = process.communicate(timeout=60)
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert "run the same command again: it continues" in stderr
    assert not (root / "metadata" / "at_mic_music.train.json").exists()
    for path in (root / "audio" / "at_mic_music").rglob("*.wav"):
        assert soundfile.info(path).frames == 8 * PROTOCOL.sample_rate
    noted = len(read_journal(journal))
    assert 1 <= noted < 4

    done = at_mic(root, "--json")
    assert (done.code, done.json["kept"], done.json["made"]) == (0, noted, 4 - noted)
    assert at_mic(root, "--output", tmp_path / "whole").code == 0
    assert content(root) == content(tmp_path / "whole")
    assert listed(root) == listed(tmp_path / "whole")


def test_half_of_a_piece_has_no_mixture(root, at_mic):
    """A piece that is made again and fails with the last of its files is not taken for the old one."""
    assert at_mic(root).code == 0
    write_music(music(root, LOUD, "mixture"), np.ones(30000) / 2)
    assert at_mic(root).code == 1
    made = root / "audio" / "at_mic_music" / "train" / "Löud-hlp_0001"
    assert sorted(path.stem for path in made.iterdir()) == sorted(STEMS)
    assert "Löud-hlp_0001" not in json.loads(listed(root))


def write_music(path, signal, rate=PROTOCOL.sample_rate, subtype="PCM_16"):
    soundfile.write(path, signal, rate, subtype=subtype)


BAD = {
    "48 kHz": (lambda path: write_music(path, np.ones((30000, 2)) / 2, 48000), "48000 Hz"),
    "mono": (lambda path: write_music(path, np.ones(30000) / 2), "mono"),
    "short": (lambda path: write_music(path, np.ones((4410, 2)) / 2), "0.4 s"),
    "another length": (lambda path: write_music(path, np.ones((30000, 2)) / 2), "one length"),
    "missing": (lambda path: path.unlink(), "cannot be read"),
    "text": (lambda path: path.write_text("no music"), "cannot be read"),
    "folder": (lambda path: (path.unlink(), path.mkdir()), "Is a directory"),
    "NaN": (lambda path: write_music(path, np.full((30000, 2), np.nan), subtype="FLOAT"), "not finite"),
}


@pytest.mark.parametrize("damage", BAD)
def test_a_song_that_cannot_be_read_does_not_stop_the_others(root, at_mic, damage):
    change, said = BAD[damage]
    change(music(root))
    done = at_mic(root)
    assert done.code == 1
    assert said in done.stderr
    assert "drums" in done.stderr
    assert "2 of 4 pieces could not be made" in done.error
    assert list(json.loads(listed(root))) == ["Quiet bass-hlp_0001", "Silent vocals-hlp_0002"]
    if damage != "folder":
        shutil.copy(music(root, SILENT), music(root))
        again = at_mic(root, "--json")
        assert (again.code, again.json["kept"], again.json["made"]) == (0, 2, 2)
        assert list(json.loads(listed(root))) == PIECES


def test_other_rates_are_resampled_when_asked_for(root, at_mic):
    frames = soundfile.info(music(root)).frames
    for name in FILES:
        samples = 0.1 * np.random.default_rng(2).standard_normal((round(frames * 48000 / PROTOCOL.sample_rate), 2))
        write_music(music(root, LOUD, name), samples, 48000, "PCM_24")
    refused = at_mic(root, "--json")
    assert (refused.code, refused.json["failed"]) == (1, 2)
    done = at_mic(root, "--resample", "--json")
    assert (done.code, done.json["made"], done.json["kept"]) == (0, 2, 2)
    info = soundfile.info(root / "audio" / "at_mic_music" / "train" / "Löud-hlp_0001" / "drums.wav")
    assert (info.samplerate, info.frames) == (PROTOCOL.sample_rate, frames)
    assert provenance(root)["set at-mic"]["resample"] is True
    # What was resampled is not what is asked for now.
    assert at_mic(root, "--json").json["failed"] == 2


def test_flac_stands_in_for_wav(root, tmp_path, at_mic):
    assert at_mic(root, "--output", tmp_path / "wav").code == 0
    for name in FILES:
        path = music(root, LOUD, name)
        samples, rate = soundfile.read(path, dtype="int16")
        soundfile.write(path.with_suffix(".flac"), samples, rate, subtype="PCM_16")
        path.unlink()
    assert at_mic(root, "--output", tmp_path / "flac").code == 0
    assert content(tmp_path / "flac") == content(tmp_path / "wav")


def test_the_provenance_says_what_was_made(root, at_mic):
    assert at_mic(root).code == 0
    entry = provenance(root)["set at-mic"]
    assert set(entry["heads"]) == {f"{name}.wav" for name in HEADS}
    assert entry["metadata"].keys() == {
        "scenes.train.json",
        "musdb18.train.json",
        "head_loudspeaker_positions.json",
    }
    assert entry["silent"] == {"Quiet bass-hlp_0001": ["bass"], "Silent vocals-hlp_0002": ["vocals"]}
    assert entry["clipped"]["Löud-hlp_0001"]["mixture"] > 10
    assert (entry["pieces"], entry["failed"]) == (4, {})


def test_a_head_that_is_missing_or_turned_round_fails_its_pieces(root, at_mic):
    (root / "audio" / "hrtf" / "BTE_fr-VP_E1-p30.0.wav").unlink()
    done = at_mic(root)
    assert done.code == 1
    assert "hlp_0002: no impulse responses" in done.stderr
    turned = {**POSITIONS, "hlp_0001": {**POSITIONS["hlp_0001"], "left_angle": 37.5, "right_angle": -22.5}}
    write(root, "head_loudspeaker_positions.json", turned)
    done = at_mic(root, "--json")
    assert (done.code, done.json["failed"]) == (1, 4)
    assert "left_angle" in done.json["problems"]["Löud-hlp_0001"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("Track Name", "../../../out", "cannot be the name of a folder"),
        ("Track Name", "A/B", "cannot be the name of a folder"),
        ("Split", "..", "cannot be the name of a folder"),
        ("Path", "../../../etc", "leads out of"),
        ("Path", "/etc", "leads out of"),
        ("Track Name", "x" * 260, "cannot be the name of a folder"),
    ],
)
def test_names_from_metadata_lead_nowhere_else(root, at_mic, name, value, said):
    entry = {"Track Name": "A", "Split": "train", "Path": "train/A", name: value}
    write(root, "musdb18.train.json", [entry])
    scene = {"music": entry["Track Name"], "gain": "g", "head_loudspeaker_positions": "hlp_0001"}
    write(root, "scenes.train.json", {"scene_1": scene})
    done = at_mic(root)
    assert done.code == 2
    assert said in done.error
    assert not (root / "audio" / "at_mic_music").exists()


def test_metadata_that_does_not_fit_together_is_one_line(root, at_mic):
    def complains(said):
        done = at_mic(root)
        assert done.code == 2
        assert said in done.error

    songs = json.loads((root / "metadata" / "musdb18.train.json").read_text())
    write(root, "musdb18.train.json", [*songs, songs[0]])
    complains("listed twice")
    write(root, "musdb18.train.json", songs[1:])
    complains("no song 'Quiet bass'")
    write(root, "musdb18.train.json", songs)
    write(root, "head_loudspeaker_positions.json", {"hlp_0001": POSITIONS["hlp_0001"]})
    complains("no position 'hlp_0002'")
    write(root, "head_loudspeaker_positions.json", {"hlp_0001": {"left_angle": -30.0, "right_angle": 30.0}})
    complains("hlp_0001.subject")
    (root / "metadata" / "head_loudspeaker_positions.json").unlink()
    complains("harness set head")
    write(root, "scenes.train.json", {"scene_1": {"music": LOUD, "gain": "g"}})
    complains("no scene has head_loudspeaker_positions")
    write(root, "head_loudspeaker_positions.json", POSITIONS)
    (root / "metadata" / "scenes.train.json").write_text("{")
    complains("scenes.train.json")


def test_a_list_that_says_something_else_is_not_overwritten(root, at_mic):
    write(root, "at_mic_music.train.json", {"Other-hlp_0001": {"Track Name": "Other-hlp_0001", "Split": "train"}})
    done = at_mic(root)
    assert done.code == 2
    assert "Other-hlp_0001" in done.error
    assert not (root / "audio" / "at_mic_music").exists()
    assert at_mic(root, "--overwrite").code == 0
    # A part of what is to be written, as in the shipped validation set's three keys, is no other content.
    short = {name: {key: value for key, value in each.items() if key in ("Track Name", "Split", "Path")}
             for name, each in json.loads(listed(root)).items()}  # fmt: skip
    write(root, "at_mic_music.train.json", short)
    assert at_mic(root).code == 0


def test_a_folder_in_use_is_left_alone(root, at_mic):
    from harness.files import locked_folder

    with locked_folder(root):
        done = at_mic(root)
    assert done.code == 1
    assert "another harness is writing" in done.error


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_one_line(root, workers):
    """No file may grow as large as the music: the first one ends the run, and nothing is left half there."""
    stdout, stderr = start(root, workers, largest_file=50_000).communicate(timeout=60)
    assert stderr.count("error: ") == 1
    assert "make room or choose another place, then run the same command again" in stderr
    assert "Traceback" not in stderr + stdout
    assert content(root) == {}


def test_a_place_that_is_no_folder_is_one_line(root, tmp_path, at_mic):
    (tmp_path / "file").touch()
    done = at_mic(root, "--output", tmp_path / "file" / "inner")
    assert done.code == 1
    assert "cannot use the folder" in done.error


def test_the_set_runs(root, at_mic, run_cli):
    """What is made is what `harness run` reads."""
    scenes = json.loads((root / "metadata" / "scenes.train.json").read_text())
    write(root, "gains.json", {"g": dict.fromkeys(STEMS, 0)})
    levels = [30] * 6
    person = {"name": "L1", "audiogram_cfs": [250, 500, 1000, 2000, 4000, 6000]}
    write(root, "listeners.train.json", {"L1": {**person, "audiogram_levels_l": levels, "audiogram_levels_r": levels}})
    write(root, "scene_listeners.train.json", {scene: ["L1"] for scene in scenes})
    assert at_mic(root).code == 0
    done = run_cli("enhance", "--system", "passthrough", "--data", root, "--split", "train", "--output", "made")
    assert done.code == 0, done.stderr
