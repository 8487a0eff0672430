"""Music is read from files sample by sample, and whatever is no stereo music is refused in one line."""

import os

import numpy as np
import pytest
import soundfile
import soxr
from sets.songfiles import RATE, write_signal

from harness.errors import DataError
from harness.sets.sources import Source, length_of


@pytest.fixture
def signal():
    return np.random.default_rng(3).integers(-32768, 32768, (RATE, 2)) / 32768


FORMATS = [
    ("wav", "PCM_16"), ("wav", "PCM_24"), ("wav", "PCM_32"), ("wav", "FLOAT"), ("wav", "DOUBLE"), ("flac", "PCM_16"),
    ("flac", "PCM_24"),
]  # fmt: skip


@pytest.mark.parametrize(("suffix", "subtype"), FORMATS)
def test_samples_are_what_they_were(tmp_path, signal, suffix, subtype):
    path = tmp_path / f"song.{suffix}"
    write_signal(path, signal, subtype=subtype)
    assert np.array_equal(Source(path).read(), signal)
    assert np.array_equal(Source(path, 1234, 30000).read(), signal[1234:30000])
    assert np.array_equal(Source(path, 1234).read(), signal[1234:])
    assert length_of(path) == (RATE, RATE)


def test_files_that_are_added(tmp_path, signal):
    paths = [tmp_path / f"{number}.wav" for number in range(3)]
    for number, path in enumerate(paths):
        write_signal(path, signal / 2**number, subtype="DOUBLE")
    summed = Source(paths[0], 100, 20000, added=tuple(paths[1:]))
    assert np.array_equal(summed.read(), (signal * 1.75)[100:20000])
    assert summed.paths == tuple(paths)
    write_signal(paths[2], signal[:-1])
    with pytest.raises(DataError, match=r"2\.wav has 44099 samples, 0\.wav has 44100"):
        Source(paths[0], added=tuple(paths[1:])).read()


def test_over_full_scale_is_music_and_far_over_is_not(tmp_path, signal):
    write_signal(tmp_path / "loud.wav", signal * 4, subtype="FLOAT")
    assert np.array_equal(Source(tmp_path / "loud.wav").read(), signal * 4)
    write_signal(tmp_path / "loud.wav", signal * 4000, subtype="FLOAT")
    with pytest.raises(DataError, match=r"loud.wav peaks at 4e\+03 times full scale, at most 1000 is music"):
        Source(tmp_path / "loud.wav").read()


def test_another_rate_is_resampled_if_that_is_asked_for(tmp_path, signal):
    path = tmp_path / "song.wav"
    write_signal(path, signal, 48000)
    with pytest.raises(DataError, match=r"has a sample rate of 48000 Hz, expected 44100 Hz: .* --resample"):
        Source(path).read()
    whole = Source(path, resample=True).read()
    assert np.array_equal(whole, soxr.resample(signal, 48000, 44100, quality="HQ"))
    # A part is that of the whole, not a resampled part.
    assert np.array_equal(Source(path, 5000, 30000, resample=True).read(), whole[5000:30000])
    with pytest.raises(DataError, match="the part from sample 5000 to 44100 is not in it"):
        Source(path, 5000, 44100, resample=True).read()


def refused(path, **about):
    with pytest.raises(DataError) as caught:
        Source(path, **about).read()
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def test_what_is_refused(tmp_path, signal, must_not_hang):
    path = tmp_path / "song.wav"
    assert "No such file" in refused(path)
    path.mkdir()
    assert "not a regular file" in refused(path)
    path.rmdir()
    os.mkfifo(path)
    assert "not a regular file" in refused(path)
    path.unlink()
    path.write_bytes(b"RIFF" + b"no music at all" * 100)
    assert "ends early" in refused(path)
    path.write_bytes(b"no music at all" * 100)
    assert "cannot be read as WAV or FLAC" in refused(path)
    path.write_bytes(b"")
    assert "cannot be read as WAV or FLAC" in refused(path)
    soundfile.write(path, signal[:, 0], RATE)
    assert "is mono, expected stereo" in refused(path)
    soundfile.write(path, np.repeat(signal, 3, axis=1), RATE)
    assert "is of 6 channels, expected stereo" in refused(path)
    soundfile.write(path, signal, RATE, subtype="PCM_U8")
    assert "samples as PCM_U8, expected WAV or FLAC of 16, 24 or 32 bit or float" in refused(path)
    soundfile.write(path, signal, RATE, format="AIFF")
    assert "is AIFF" in refused(path)
    soundfile.write(path, signal[:100], RATE)
    assert "lasts 0.002 s, expected 0.4 s to 1800 s" in refused(path)
    soundfile.write(path, signal, 4000)
    assert "4000 Hz, which is none of music" in refused(path, resample=True)
    bad = signal.copy()
    bad[777, 1] = np.nan
    soundfile.write(path, bad, RATE, subtype="FLOAT")
    assert "not finite" in refused(path)


def test_parts_that_are_not_there(tmp_path, signal):
    path = tmp_path / "song.wav"
    write_signal(path, signal)
    assert "has 44100 samples at 44100 Hz (1.00 s), the part from sample 0 to 44101 is not in it" in refused(
        path, end=RATE + 1
    )
    assert "the part from sample 44100 to 44100 is not in it" in refused(path, start=RATE)
    assert "too short for its loudness to be measured" in refused(path, start=RATE - 1000)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_file_that_was_half_copied(tmp_path, signal, suffix):
    path = tmp_path / f"song.{suffix}"
    write_signal(path, signal)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "copy or convert it anew" in refused(path)
