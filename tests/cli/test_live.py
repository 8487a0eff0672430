"""`harness live` as a user meets it: files in and out, a sound device of ALSA's, and one line for whatever is wrong."""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from streamers import Louder
from support import RunCli, TinySet

from harness.chain import remix_live
from harness.challenge import PROTOCOL, STEMS
from harness.cli.live import status_line
from harness.haaqi import conformance
from harness.live.files import read_music
from harness.live.playing import process_all
from harness.live.session import Session
from harness.systems.streaming import OwnStream

RATE = PROTOCOL.sample_rate
STREAMERS = Path(__file__).parent.parent / "streamers.py"
BANDS = ("--plugin", STREAMERS, "--system", "bands")
LOUDER = ("--plugin", STREAMERS, "--system", "louder")
MUSIC = conformance.scenes()[0].mixture[: round(0.6 * RATE)]


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.wav"
    soundfile.write(path, MUSIC, RATE, "PCM_24")
    return path


def bands(music: np.ndarray) -> dict[str, np.ndarray]:
    from scipy.signal import lfilter

    low = lfilter([0.05], [1, -0.95], music, axis=0)
    return {name: low if name == "bass" else (music - low) / 3 for name in STEMS}


@pytest.mark.parametrize("in_process", [False, True], ids=["apart", "in-process"])
def test_what_would_be_heard_is_written(run_cli: RunCli, song: Path, tmp_path: Path, in_process: bool) -> None:
    out = tmp_path / "heard.flac"
    manner = ("--in-process",) if in_process else ()
    done = run_cli("live", *BANDS, song, "--gain", "bass=6", "--gain", "vocals=-3", "--output", out, "--json", *manner)
    assert done.code == 0, done.stderr
    said = done.json
    assert (said["samples"], said["block"], said["latency"], said["through_delay"]) == (len(MUSIC), 64, 0, 63)
    assert said["through_delay_ms"] == pytest.approx(63 / 44.1)
    assert said["load"]["blocks"] == -(-len(MUSIC) // 64)
    assert said["clipped"] == 0
    expected = remix_live(bands(MUSIC), {"vocals": -3.0, "drums": 0.0, "bass": 6.0, "other": 0.0}, MUSIC)
    assert np.abs(read_music(out) - expected).max() < 2**-21
    assert np.abs(expected - MUSIC).max() > 0.01


def test_a_listener_of_the_set_gets_nalr(run_cli: RunCli, song: Path, tiny_set: TinySet, tmp_path: Path) -> None:
    out = tmp_path / "heard.wav"
    done = run_cli("live", *BANDS, song, *tiny_set.args, "--listener", "V2", "--output", out)
    assert done.code == 0, done.stderr
    assert "through-delay 173 samples (3.92 ms, NAL-R's 2.5 ms included)" in done.stdout
    assert "load by processor time: p50 0." in done.stdout
    assert "clipped: " in done.stdout
    heard = read_music(out)
    assert len(heard) == len(MUSIC) + PROTOCOL.nalr_order
    # V2's right ear is normal: NAL-R only delays it.
    assert np.abs(heard[110 : 110 + len(MUSIC), 1] - MUSIC[:, 1]).max() < 1e-3
    assert heard[:, 0].std() > 3 * MUSIC[:, 0].std()
    unknown = run_cli("live", *BANDS, song, *tiny_set.args, "--listener", "V9", "--output", out)
    assert (unknown.code, unknown.error) == (2, "no listener V9 in the evaluation set (it has V1, V2)")


def test_a_streaming_enhancer_is_heard_as_it_is(run_cli: RunCli, song: Path, tiny_set: TinySet, tmp_path: Path) -> None:
    out = tmp_path / "heard.wav"
    without = run_cli("live", *LOUDER, song, "--output", out)
    assert (without.code, without.error) == (2, "system louder amplifies for a listener: name one with --listener")
    done = run_cli(
        "live", *LOUDER, song, *tiny_set.args, "--listener", "V1", "--gain", "vocals=-6", "--output", out, "--json"
    )
    assert done.code == 0, done.stderr
    assert done.json["through_delay"] == 99
    assert np.abs(read_music(out) - MUSIC * 10 ** (-6 / 20)).max() < 2**-21


def test_what_does_not_fit_together_is_refused_before_anything_starts(run_cli: RunCli, song: Path) -> None:
    def refused(*args: object) -> str:
        done = run_cli("live", *BANDS, *args)
        assert done.code == 2
        return done.error

    assert refused() == "name the music: a FILE, or a --device to listen to"
    assert refused("--output", "a.wav") == "name the music: a FILE, or a --device to listen to"
    assert "--output goes with a FILE" in refused(song, "--output", "a.wav", "--device", "x")
    assert "go with --listener" in refused(song, "--output", "a.wav", "--split", "valid")
    assert "ends in .wav or .flac" in refused(song, "--output", "a.mp3")
    assert "no such music file: missing.wav" in refused("missing.wav", "--output", "a.wav")
    assert "STEM=DB" in refused(song, "--output", "a.wav", "--gain", "voice=3")
    assert "is given twice" in refused(song, "--output", "a.wav", "--gain", "bass=3", "--gain", "bass=4")
    assert "no number" in refused(song, "--output", "a.wav", "--gain", "bass=loud")
    for text in ("99", "nan", "-inf"):
        assert "expected -20 to 20 dB" in refused(song, "--output", "a.wav", "--gain", f"bass={text}")


def test_a_system_that_needs_the_whole_piece_cannot_be_heard(run_cli: RunCli, song: Path, tmp_path: Path) -> None:
    done = run_cli("live", "--plugin", STREAMERS, "--system", "centre", song, "--output", "a.wav")
    assert done.code == 2
    assert "system centre needs the whole piece" in done.error
    assert "bands" in done.error
    assert "louder" in done.error
    assert not (tmp_path / "a.wav").exists()


def test_a_system_that_fails_leaves_no_file(run_cli: RunCli, song: Path, tmp_path: Path) -> None:
    for manner in ((), ("--in-process",)):
        options = ("--option", "block=4410", "--option", "broken_after=10")
        soundfile.write(song, np.concatenate([MUSIC] * 3), RATE)
        done = run_cli("live", *BANDS, *options, song, "--output", "a.wav", *manner)
        assert done.code == 1
        assert "error: system bands: block 11 of its output is not finite" in done.stderr
        assert not (tmp_path / "a.wav").exists()


def test_without_the_package_sounddevice_one_line_says_what_to_install(
    run_cli: RunCli, song: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    done = run_cli("live", *BANDS, song)
    assert done.code == 1
    assert 'pip install "cadenza-harness[live]"' in done.error
    assert "--output" in done.error
    # As the package does where the system's library is missing.
    monkeypatch.delitem(sys.modules, "sounddevice")
    package = tmp_path / "package"
    package.mkdir()
    monkeypatch.syspath_prepend(str(package))
    for line, expected in (
        ("raise OSError('PortAudio library not found')", "apt-get install libportaudio2"),
        (
            "raise RuntimeError('Error initializing PortAudio')",
            "PortAudio does not start (Error initializing PortAudio)",
        ),
    ):
        (package / "sounddevice.py").write_text(f"{line}\n")
        importlib.invalidate_caches()
        done = run_cli("live", *BANDS, song)
        assert done.code == 1
        assert expected in done.error


def test_the_status_fits_a_terminal_and_tells_everything() -> None:
    session = Session(OwnStream(Louder(), None, {"vocals": 20.0}), "enhancer", dict.fromkeys(STEMS, 0.0), None)
    process_all(session, MUSIC)
    line = status_line(session, 12, 1799.9, 1800.0)
    assert re.fullmatch(
        r"1799.9 of 1800 s: load p50 \d\.\d\d, p99 \d+\.\d\d \(CPU \d\.\d\d\), late \d+, xruns 12, clipped \d+", line
    )
    assert f"clipped {session.clipped}" in line
    assert session.clipped > 0
    assert len(line) <= 90


# With PortAudio, in processes of their own: it looks at ALSA's configuration once.


def alsa(tmp_path: Path, text: str) -> dict[str, str]:
    """The environment in which ALSA has these devices and no others."""
    (tmp_path / "asound.conf").write_text(text)
    return {**os.environ, "ALSA_CONFIG_PATH": str(tmp_path / "asound.conf"), "HARNESS_PLUGINS": ""}


NONE = "pcm.none { type plug }\n"
"""A configuration of ALSA without a device that works; without any, PortAudio aborts."""

NULL = "pcm.quiet { type null }\npcm.!default { type null }\n"
"""Devices of ALSA's own that play into nowhere, as fast as they can."""


@pytest.fixture
def portaudio(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """The environment with some ALSA devices; skips where PortAudio or ALSA is missing."""

    def prepared(text: str) -> dict[str, str]:
        environment = alsa(tmp_path, text)
        script = "import sounddevice; print(len(sounddevice.query_devices()))"
        found = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
        if found.returncode or (found.stdout.strip() == "0") != (text == NONE):
            pytest.skip("PortAudio with ALSA is not here (make sound)")
        return environment

    return prepared


@contextmanager
def live(environment: dict[str, str], *args: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "harness", "live", *map(str, BANDS), "--option", "block=1000", *map(str, args)]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=STREAMERS.parent.parent
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_a_file_is_played_on_a_sound_device(portaudio: Callable[[str], dict[str, str]], song: Path) -> None:
    with live(portaudio(NULL), song, "--json") as playing:
        out, err = playing.communicate(timeout=120)
    assert playing.returncode == 0, err
    said = json.loads(out)
    assert (said["device"], said["samples"], said["interrupted"]) == ("default", len(MUSIC), False)
    assert said["load"]["blocks"] == -(-len(MUSIC) // 1000)
    assert said["device_adds_ms"] > 0


@pytest.mark.slow
def test_ctrl_c_ends_listening_to_a_device(portaudio: Callable[[str], dict[str, str]]) -> None:
    with live(portaudio(NULL), "--device", "quiet", "--json") as listening:
        assert listening.stderr is not None
        while "listening to quiet" not in (line := listening.stderr.readline()):
            assert line, "it ended by itself"
        time.sleep(1.5)
        listening.send_signal(signal.SIGINT)
        out, err = listening.communicate(timeout=60)
    assert listening.returncode == 0, err
    said = json.loads(out)
    assert said["interrupted"]
    assert said["samples"] > 0
    assert said["samples"] % 1000 == 0
    assert "Traceback" not in err


@pytest.mark.slow
def test_devices_that_are_not_there(portaudio: Callable[[str], dict[str, str]], song: Path) -> None:
    for devices, args, expected in (
        (NONE, [song], "no default sound device that plays"),
        (NULL, [song, "--device", "loud"], "no sound device 'loud' that plays"),
        (NULL, ["--device", "loud"], "no sound device 'loud' that plays and records"),
    ):
        with live(portaudio(devices), *args) as started:
            _, err = started.communicate(timeout=60)
        assert started.returncode == 1
        (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
        assert expected in line
        assert "--output FILE needs no sound device" in line
        assert ("there are: quiet, default" in line) == (devices == NULL)
