"""Heads on disk: the files of a position, and what their impulse responses must be."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from harness.errors import DataError
from harness.sets.heads import (
    KEMAR_POSITIONS,
    Position,
    heads_in,
    kemar_folder,
    positions_of,
    read_impulse_responses,
    speaker_files,
    speaker_name,
)

HEAD = Position("KEMAR", -30.0, 25.0, "ear")


def written(path: Path, taps: int = 128, channels: int = 2, rate: int = 44100, scale: float = 0.5) -> Path:
    response = scale * np.random.default_rng(0).uniform(-1, 1, (taps, channels))
    soundfile.write(path, response, rate, subtype="FLOAT", format="WAV")
    return path


def test_every_position_of_the_shipped_head_can_be_read() -> None:
    assert len(KEMAR_POSITIONS) == 25
    assert KEMAR_POSITIONS["hlp_0001"] == Position("KEMAR", -40.0, 20.0, "ear")
    for position in KEMAR_POSITIONS.values():
        for path in speaker_files(kemar_folder(), position):
            assert read_impulse_responses(path).shape == (512, 2)


@pytest.mark.parametrize("angle", [20.0, 25.0, 30.0, 35.0, 40.0])
def test_the_shipped_head_hears_left_on_the_left(angle: float) -> None:
    """The ear towards the loudspeaker hears it louder and earlier; left and right mirror each other."""
    left = read_impulse_responses(kemar_folder() / speaker_name("ear-KEMAR", -angle))
    right = read_impulse_responses(kemar_folder() / speaker_name("ear-KEMAR", angle))
    energy = np.sum(left**2, axis=0)
    assert energy[0] > 2 * energy[1]
    first = [np.flatnonzero(np.abs(ear) > 0.2 * np.abs(ear).max())[0] for ear in left.T]
    assert first[0] < first[1]
    assert np.array_equal(left, right[:, ::-1])


def test_an_integer_angle_means_the_same() -> None:
    whole = replace(HEAD, left_angle=-30, right_angle=25)
    assert [path.name for path in speaker_files(kemar_folder(), whole)] == [
        "ear-KEMAR-n30.0.wav",
        "ear-KEMAR-p25.0.wav",
    ]


def test_straight_ahead_is_on_either_side(tmp_path: Path) -> None:
    names = ["m-s-n0.0.wav", "m-s-p0.0.wav"]
    for name in names:
        written(tmp_path / name)
    assert [path.name for path in speaker_files(tmp_path, Position("s", 0, 0, "m"))] == names


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"left_angle": 30.0}, "left_angle is 30, expected -180 to 0, such as -30.0"),
        ({"right_angle": -25.0}, "right_angle is -25, expected 0 to 180"),
        ({"right_angle": float("nan")}, "right_angle is nan"),
        ({"left_angle": -181.0}, "left_angle is -181"),
        ({"left_angle": -22.5}, "of the head ear-KEMAR there are the angles -40, -35, -30, -25, -20, 20, 25,"),
        ({"subject": "VP_E1"}, "the folder holds the heads ear-KEMAR: correct mic and subject"),
        ({"subject": "../KEMAR"}, "subject is '../KEMAR', expected 1 to 100 characters without /"),
        ({"mic": ""}, "mic is '', expected"),
        ({"mic": "a\n"}, r"mic is 'a\\\\n'"),
    ],
)
def test_a_position_that_is_wrong(change: dict[str, object], expected: str) -> None:
    with pytest.raises(DataError, match=expected.replace("(", r"\(")):
        speaker_files(kemar_folder(), replace(HEAD, **change))  # type: ignore[arg-type]


def test_a_folder_without_heads(tmp_path: Path) -> None:
    (tmp_path / "notes.wav").touch()
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(DataError, match=r"holds no file of the form .* harness set head FILE\.sofa --angles"):
            speaker_files(folder, HEAD)


def test_heads_are_found_by_their_names(tmp_path: Path) -> None:
    for name in (
        "a-b-n30.0.wav",
        "a-b-p7.5.wav",
        "a-b-p30.wav",
        "a-c-d-p1.0.wav",
        "a-b-ninf.wav",
        "a-b-x3.0.wav",
        "n3.0.wav",
    ):
        (tmp_path / name).touch()
    assert heads_in(tmp_path) == {"a-b": [-30.0, 7.5], "a-c-d": [1.0]}


def test_positions_are_all_pairs() -> None:
    positions = positions_of("s", "m", [-30.0, -37.5, -30.0], [30.0, 22.5])
    assert [(name, at.left_angle, at.right_angle) for name, at in positions.items()] == [
        ("hlp_0001", -37.5, 22.5),
        ("hlp_0002", -37.5, 30.0),
        ("hlp_0003", -30.0, 22.5),
        ("hlp_0004", -30.0, 30.0),
    ]


def test_impulse_responses_keep_their_values(tmp_path: Path) -> None:
    response = np.random.default_rng(1).normal(size=(300, 2))
    soundfile.write(tmp_path / "a.wav", response, 44100, subtype="DOUBLE")
    assert np.array_equal(read_impulse_responses(tmp_path / "a.wav"), response)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"rate": 48000}, "the sample rate is 48000 Hz, expected 44100"),
        ({"channels": 1}, "has 1 channel, expected 2"),
        ({"channels": 3}, "has 3 channels, expected 2"),
        ({"taps": 0}, "lasts 0 s"),
        ({"taps": 450_000}, "expected at most 10 s"),
        ({"scale": 1e-5}, "peaks at 9.95e-06, expected 0.001 to 1e"),
        ({"scale": float("nan")}, "not a finite number"),
    ],
)
def test_impulse_responses_that_are_none(given: dict[str, float], expected: str, tmp_path: Path) -> None:
    path = written(tmp_path / "a.wav", **given)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=expected):
        read_impulse_responses(path)


def test_a_deaf_ear_is_named(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([[0.5, 0.0], [0.1, 0.0]]), 44100, subtype="FLOAT")
    with pytest.raises(DataError, match="nothing but zeros reaches the right ear"):
        read_impulse_responses(tmp_path / "a.wav")


@pytest.mark.parametrize("content", [b"", b"RIFF", b"hello" * 100])
def test_what_is_no_sound_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.wav cannot be read as audio"):
        read_impulse_responses(tmp_path / "a.wav")
    with pytest.raises(DataError, match=r"no impulse responses .*b\.wav"):
        read_impulse_responses(tmp_path / "b.wav")
    (tmp_path / "c.wav").mkdir()
    with pytest.raises(DataError, match=r"c\.wav is not a regular file"):
        read_impulse_responses(tmp_path / "c.wav")


def test_a_cut_file_is_no_head(tmp_path: Path) -> None:
    whole = (kemar_folder() / "ear-KEMAR-n30.0.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(whole[:1000])
    with pytest.raises(DataError, match=r"a\.wav ends early"):
        read_impulse_responses(tmp_path / "a.wav")
