"""Heads from SOFA files, written with the library that reads them."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import sofar
import soundfile
from support import RunCli

from harness.errors import DataError, UsageError
from harness.sets.heads import Position, kemar_folder, read_impulse_responses, speaker_files
from harness.sets.sofa import read_head, read_response

AZIMUTHS = (0.0, 30.0, 90.0, 180.0, 270.0, 330.0, 337.5, 30.0)
ELEVATIONS = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 45.0)
ANGLES = [-90.0, -30.0, 0.0, 22.5, 30.0, 90.0, 180.0]

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write(name="head", **values)`: a SOFA file with random responses; values are set, or changed by a function."""

    def write(name: str = "head", **values: Any) -> Path:
        sofa = sofar.Sofa("SimpleFreeFieldHRIR")
        sofa.SourcePosition = np.stack([AZIMUTHS, ELEVATIONS, np.full(len(AZIMUTHS), 1.4)], axis=1)
        sofa.Data_IR = 0.1 * np.random.default_rng(0).normal(size=(len(AZIMUTHS), 2, 64))
        sofa.Data_SamplingRate = 44100
        for key, value in values.items():
            setattr(sofa, key, value(getattr(sofa, key)) if callable(value) else value)
        path = tmp_path / f"{name}.sofa"
        sofar.write_sofa(str(path), sofa)
        return path

    return write


def as_cartesian(positions: Any) -> Any:
    azimuth, elevation, distance = np.radians(positions[:, 0]), np.radians(positions[:, 1]), positions[:, 2:]
    level = np.cos(elevation)
    return distance * np.stack([level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)], axis=1)


def test_angles_are_negative_to_the_left(write: Write) -> None:
    head = read_head(write())
    assert (head.directions, head.taps, head.sample_rate, head.swapped) == (8, 64, 44100.0, False)
    assert head.angles == ANGLES
    with sofar.SofaStream(str(head.path)) as file:
        samples = np.asarray(file.Data_IR[:])
    # Azimuth 30 in SOFA is on the left.
    assert np.array_equal(read_response(head, -30.0), samples[1].T)
    assert np.array_equal(read_response(head, 30.0), samples[5].T)
    assert np.array_equal(read_response(head, 22.5), samples[6].T)
    assert np.array_equal(read_response(head, -90.0), samples[2].T)


def test_positions_in_metres_are_the_same(write: Write) -> None:
    spherical = read_head(write())
    metres = {"SourcePosition": as_cartesian, "SourcePosition_Type": "cartesian", "SourcePosition_Units": "metre"}
    cartesian = read_head(write("metres", **metres))
    assert cartesian.angles == spherical.angles
    assert np.array_equal(read_response(cartesian, 22.5), read_response(spherical, 22.5))


def test_ears_are_put_in_order(write: Write) -> None:
    plain = read_head(write())
    swapped = read_head(write("swapped", ReceiverPosition=lambda ears: ears[::-1]))
    assert swapped.swapped
    assert np.array_equal(read_response(swapped, -30.0), read_response(plain, -30.0)[:, ::-1])


def test_delays_are_applied(write: Write) -> None:
    plain = read_response(read_head(write()), -30.0)
    delayed = read_response(read_head(write("delayed", Data_Delay=[[3, 0]])), -30.0)
    assert delayed.shape == (67, 2)
    assert np.array_equal(delayed[3:, 0], plain[:, 0])
    assert np.array_equal(delayed[:64, 1], plain[:, 1])
    assert not np.any(delayed[:3, 0])
    with pytest.raises(DataError, match=r"Data\.Delay is \[0\.5, 0\.0\], expected whole samples"):
        read_response(read_head(write("half", Data_Delay=[[0.5, 0]])), -30.0)


def test_another_rate_is_resampled_only_if_asked(write: Write) -> None:
    click = np.zeros((len(AZIMUTHS), 2, 256))
    # A click of a band that both rates hold, so that resampling keeps its shape.
    click[:] = np.sinc(0.5 * (np.arange(256) - 100)) * np.hanning(256)
    head = read_head(write(Data_SamplingRate=48000, Data_IR=click))
    with pytest.raises(UsageError, match="the sample rate is 48000 Hz, expected 44100: give --resample"):
        read_response(head, 30.0)
    response = read_response(head, 30.0, resample=True)
    # 256 samples at 48 kHz are the 235 of the challenge's own files.
    assert response.shape == (235, 2)
    frequencies = np.array([1000.0, 4000.0])
    gains = [
        np.abs(np.exp(-2j * np.pi * np.outer(frequencies, np.arange(len(taps))) / rate) @ taps)
        for taps, rate in ((click[0, 0], 48000), (response[:, 0], 44100))
    ]
    assert np.allclose(gains[0], gains[1], rtol=1e-3)


def test_an_angle_that_was_not_measured(write: Write) -> None:
    head = read_head(write())
    assert np.array_equal(read_response(head, 22.51), read_response(head, 22.5))
    with pytest.raises(UsageError, match=r"25 degrees was not measured; near it are -30, 0, 22\.5, 30"):
        read_response(head, 25.0)
    with pytest.raises(UsageError, match="2 measurements at -30 degrees, perhaps at several distances"):
        read_response(read_head(write("far", SourcePosition=_another_distance)), -30.0)


def _another_distance(positions: Any) -> Any:
    positions[7] = (30.0, 0.0, 2.0)
    return positions


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"Data_SamplingRate": 4000}, "expected one sample rate in Hz"),
        ({"ListenerView": [[0, 1, 0]]}, "ListenerView is not straight ahead: turn the head"),
        ({"ListenerUp": [[0, 1, 0]]}, "ListenerUp is not up"),
        ({"Data_IR": lambda samples: samples[:, :, :1].repeat(500_000, axis=2)}, "expected 1 to 10 s"),
        ({"SourcePosition": lambda positions: np.full_like(positions, np.nan)}, "SourcePosition has values that are"),
    ],
)
def test_a_head_that_is_none(values: dict[str, Any], expected: str, write: Write) -> None:
    with pytest.raises(DataError, match=rf"head\.sofa.*{expected}"):
        read_head(write(**values))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda samples: samples.__setitem__((1, 0), 0.0), "nothing but zeros reaches the left ear"),
        (lambda samples: samples.__setitem__((1, 0, 5), np.nan), "not a finite number"),
        (lambda samples: samples.__imul__(1e-5), "peaks at"),
    ],
)
def test_responses_that_are_damaged(change: Any, expected: str, write: Write) -> None:
    def changed(samples: Any) -> Any:
        change(samples)
        return samples

    with pytest.raises(DataError, match=rf"head\.sofa, angle -30.*{expected}"):
        read_response(read_head(write(Data_IR=changed)), -30.0)


def test_mono_and_other_conventions_are_refused(tmp_path: Path) -> None:
    spectra = sofar.Sofa("SimpleFreeFieldHRTF")
    sofar.write_sofa(str(tmp_path / "spectra.sofa"), spectra)
    with pytest.raises(DataError, match="its convention is SimpleFreeFieldHRTF, expected SimpleFreeFieldHRIR"):
        read_head(tmp_path / "spectra.sofa")
    # sofar writes no such file, other programs might.
    with netCDF4.Dataset(tmp_path / "mono.sofa", "w") as file:
        file.SOFAConventions = "SimpleFreeFieldHRIR"
        for name, length in (("M", 1), ("R", 1), ("N", 64)):
            file.createDimension(name, length)
        file.createVariable("Data.IR", "f8", ("M", "R", "N"))[:] = np.ones((1, 1, 64))
    with pytest.raises(DataError, match=r"mono\.sofa has impulse responses of the shape \(1, 1, 64\), expected"):
        read_head(tmp_path / "mono.sofa")


def test_files_that_are_no_sofa_files(write: Write, tmp_path: Path) -> None:
    whole = write().read_bytes()
    for name, content in (("empty", b""), ("text", b"hello" * 100), ("half", whole[: len(whole) // 2])):
        path = tmp_path / f"{name}.sofa"
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}\.sofa cannot be read as a SOFA file"):
            read_head(path)
    with pytest.raises(DataError, match="no SOFA file"):
        read_head(tmp_path / "missing.sofa")
    for place in range(0, len(whole), len(whole) // 40):
        damaged = tmp_path / "damaged.sofa"
        damaged.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            read_response(read_head(damaged), -30.0)
        except (DataError, UsageError) as error:
            assert "damaged.sofa" in str(error)  # noqa: PT017 - many a byte does no harm


def test_without_the_library_it_is_named(write: Write, monkeypatch: pytest.MonkeyPatch, run_cli: RunCli) -> None:
    path = write()
    monkeypatch.setitem(sys.modules, "sofar", None)
    outcome = run_cli("set", "head", path)
    assert (outcome.code, 'pip install "cadenza-harness[sofa]"' in outcome.error) == (2, True)


def test_the_command_shows_the_angles(write: Write, run_cli: RunCli) -> None:
    path = write(GLOBAL_Title="A head [/red] \x1b[31m", GLOBAL_License="CC BY 4.0")
    shown = run_cli("set", "head", path)
    assert shown.code == 0
    assert "-90, -30, 0, 22.5, 30, 90; 1 behind" in shown.stdout
    assert "License: CC BY 4.0" in shown.stdout
    assert "\x1b" not in shown.stdout
    found = json.loads(run_cli("set", "head", path, "--json").stdout)
    assert found["angles"] == ANGLES
    assert found["about"]["Title"].startswith("A head [/red]")


def test_it_writes_what_at_mic_reads(write: Write, run_cli: RunCli, tmp_path: Path) -> None:
    path, root = write("VP_E1"), tmp_path / "root"
    args = ("set", "head", path, "--angles=-30,-90,22.5", "--mic", "BTE_fr", "--output", root)
    made = run_cli(*args, "--json")
    assert made.code == 0, made.error
    positions = json.loads((root / "metadata" / "head_loudspeaker_positions.json").read_text())
    assert positions == {
        "hlp_0001": {"subject": "VP_E1", "left_angle": -90.0, "right_angle": 22.5, "mic": "BTE_fr"},
        "hlp_0002": {"subject": "VP_E1", "left_angle": -30.0, "right_angle": 22.5, "mic": "BTE_fr"},
    }
    head = read_head(path)
    for record in positions.values():
        left, right = speaker_files(root / "audio" / "hrtf", Position(**record))
        for file, angle in ((left, record["left_angle"]), (right, record["right_angle"])):
            expected = read_response(head, angle).astype(np.float32)
            assert np.array_equal(read_impulse_responses(file), expected)
            assert soundfile.info(file).subtype == "FLOAT"
    before = {file: file.read_bytes() for file in root.rglob("*") if file.is_file()}
    again = json.loads(run_cli(*args, "--json").stdout)
    assert again["written"] == []
    assert {file: file.read_bytes() for file in root.rglob("*") if file.is_file()} == before
    noted = json.loads((root / "metadata" / "provenance.heads.json").read_text())["set head BTE_fr-VP_E1"]
    assert noted["source"]["file"] == "VP_E1.sofa"


def test_a_second_head_is_added_and_nothing_replaced(write: Write, run_cli: RunCli, tmp_path: Path) -> None:
    one, root = write("one"), tmp_path / "root"
    two = write("two", Data_IR=lambda samples: samples[::-1])
    assert run_cli("set", "head", one, "--angles=-30,30", "--output", root).code == 0
    listed = root / "metadata" / "head_loudspeaker_positions.json"
    content = json.loads(listed.read_text())
    content["hlp_0001"]["note"] = "kept"
    listed.write_text(json.dumps(content))
    assert run_cli("set", "head", two, "--angles=-30,30,90", "--output", root).code == 0
    positions = json.loads(listed.read_text())
    assert list(positions) == ["hlp_0001", "hlp_0002", "hlp_0003"]
    assert positions["hlp_0001"]["note"] == "kept"
    assert [position["subject"] for position in positions.values()] == ["one", "two", "two"]
    refused = run_cli("set", "head", two, "--subject", "one", "--angles=-30,30", "--output", root)
    assert refused.code == 2
    assert "ear-one-n30.0.wav is there already and holds something else: give --overwrite" in refused.error
    assert json.loads(listed.read_text()) == positions
    assert run_cli("set", "head", two, "--subject", "one", "--angles=-30,30", "--output", root, "--overwrite").code == 0
    assert json.loads(listed.read_text()) == positions


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("--output", "root"), "--output goes with --angles"),
        (("--output", "root", "--angles=30"), "none is on the left"),
        (("--output", "root", "--angles=-30,0,30"), "--angles: expected degrees"),
        (("--output", "root", "--angles=-30,nan"), "--angles: expected degrees"),
        (("--output", "root", "--angles=-30;30"), "expected numbers with commas"),
        (("--output", "root", "--angles=-31,30"), "-31 degrees was not measured"),
        (("--output", "root", "--angles=-30,30", "--subject", "../x"), "--subject '../x'"),
        (("--output", "root", "--angles=-30,30", "--mic", "ä"), "--mic 'ä'"),
        (("--angles=-31",), "-31 degrees was not measured"),
    ],
)
def test_wrong_use_is_one_line_and_writes_nothing(
    args: tuple[str, ...], expected: str, write: Write, run_cli: RunCli, tmp_path: Path
) -> None:
    outcome = run_cli("set", "head", write(), *args)
    assert outcome.code == 2
    assert expected in outcome.error
    assert not (tmp_path / "root").exists()


def test_the_shipped_head_goes_through_a_sofa_file_unchanged(tmp_path: Path, write: Write, run_cli: RunCli) -> None:
    angles = [-40.0, -30.0, 30.0, 40.0]
    names = [f"ear-KEMAR-{'n' if angle < 0 else 'p'}{abs(angle)}.wav" for angle in angles]
    responses = np.stack([soundfile.read(kemar_folder() / name)[0].T for name in names])
    positions = np.array([[-angle % 360, 0.0, 1.4] for angle in angles])
    path = write("KEMAR", Data_IR=responses, SourcePosition=positions)
    outcome = run_cli("set", "head", path, "--angles=-40,-30,30,40", "--output", tmp_path / "root")
    assert outcome.code == 0, outcome.error
    for name in names:
        ours = read_impulse_responses(tmp_path / "root" / "audio" / "hrtf" / name)
        assert np.array_equal(ours, read_impulse_responses(kemar_folder() / name))
