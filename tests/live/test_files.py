"""Music files: what is read becomes stereo at 44.1 kHz, what is written is there in full or not at all."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from harness.challenge import PROTOCOL
from harness.errors import StorageError, UsageError
from harness.live import files
from harness.live.files import check_writable, read_music, write_music

RATE = PROTOCOL.sample_rate
MUSIC = 0.3 * np.sin(2 * np.pi * np.outer(np.arange(RATE // 2) / RATE, [440, 660]))


@pytest.mark.parametrize("name", ["music.wav", "music.flac", "music.aiff"])
def test_stereo_at_the_right_rate_stays_as_it_is(tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / name, MUSIC, RATE, "PCM_24")
    assert np.abs(read_music(tmp_path / name) - MUSIC).max() < 2**-23


@pytest.mark.parametrize("name", ["music.ogg", "music.mp3"])
def test_compressed_music_can_be_read(tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / name, MUSIC, RATE)
    read = read_music(tmp_path / name)
    assert abs(len(read) - len(MUSIC)) < 2500
    assert read.std() == pytest.approx(MUSIC.std(), rel=0.1)


@pytest.mark.parametrize("rate", [8000, 32_000, 48_000, 96_000])
def test_other_rates_are_resampled(tmp_path: Path, rate: int) -> None:
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(rate // 2) / rate)
    soundfile.write(tmp_path / "tone.wav", np.stack([tone, -tone], axis=1), rate, "FLOAT")
    read = read_music(tmp_path / "tone.wav")
    assert abs(len(read) - RATE // 2) <= 1
    middle = slice(2000, len(read) - 2000)
    expected = 0.3 * np.sin(2 * np.pi * 440 * np.arange(len(read)) / RATE)
    assert np.abs(read[middle, 0] - expected[middle]).max() < 1e-3
    assert np.abs(read[:, 0] + read[:, 1]).max() < 1e-6


def test_mono_is_heard_in_both_ears(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "mono.wav", MUSIC[:, 0], RATE, "FLOAT")
    read = read_music(tmp_path / "mono.wav")
    assert read.shape == MUSIC.shape
    assert np.array_equal(read[:, 0], read[:, 1])


def test_what_is_no_music_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(name: str) -> str:
        with pytest.raises(UsageError) as caught:
            read_music(tmp_path / name)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "no such music file" in refused("missing.wav")
    assert "no such music file" in refused(".")
    (tmp_path / "text.wav").write_text("not music at all")
    assert "cannot be read as music" in refused("text.wav")
    soundfile.write(tmp_path / "surround.wav", np.zeros((100, 6)), RATE)
    assert "has 6 channels, expected 1 or 2" in refused("surround.wav")
    soundfile.write(tmp_path / "empty.wav", np.zeros((0, 2)), RATE)
    assert "is empty" in refused("empty.wav")
    soundfile.write(tmp_path / "nan.wav", np.full((100, 2), np.nan), RATE, "FLOAT")
    assert "not finite" in refused("nan.wav")
    soundfile.write(tmp_path / "loud.wav", np.full((100, 2), 1e6), RATE, "FLOAT")
    assert "over 1000" in refused("loud.wav")
    soundfile.write(tmp_path / "fast.wav", np.zeros((100, 2)), 2_000_000)
    assert "sample rate of 2000000 Hz" in refused("fast.wav")
    monkeypatch.setattr(files, "MAX_MUSIC_SECONDS", 0.1)
    soundfile.write(tmp_path / "long.wav", MUSIC, RATE)
    assert "lasts longer than" in refused("long.wav")


@pytest.mark.parametrize("name", ["heard.wav", "heard.flac", "HEARD.WAV"])
def test_what_is_written_can_be_read(tmp_path: Path, name: str) -> None:
    loud = MUSIC.copy()
    loud[100], loud[101] = 1, -1
    write_music(tmp_path / name, loud)
    header = soundfile.info(tmp_path / name)
    assert (header.samplerate, header.channels, header.subtype) == (RATE, 2, "PCM_24")
    assert np.abs(read_music(tmp_path / name) - loud).max() < 2**-22


def test_only_wav_and_flac_are_written(tmp_path: Path) -> None:
    for name in ("heard.mp3", "heard"):
        with pytest.raises(UsageError, match=r"ends in \.wav or \.flac"):
            write_music(tmp_path / name, MUSIC)
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        check_writable(tmp_path / "folder.wav")


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageError, match="cannot write"):
        write_music(tmp_path / "file" / "heard.wav", MUSIC)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
