"""What the pages of pairs show, and what players are told, without a browser."""

import pytest

from harness.hearing import Audiogram, Listener
from harness.listening import Clip, Sound
from harness.report.audiograms import DECIBEL, OCTAVE, audiogram
from harness.report.choosing import Choice
from harness.report.pairpages import page_names
from harness.report.players import gains, player

FREQUENCIES = (250.0, 500.0, 1000.0, 2000.0, 3000.0, 4000.0, 6000.0, 8000.0)


def clip(gain: float, lufs: float | None, content: bytes = b"sound") -> Clip:
    return Clip(content, "mp3", gain, 60.0, lufs, (0.0, 1.0), b"picture")


def test_matched_clips_are_as_loud_as_the_loudest() -> None:
    found = gains([clip(0.5, -20.0), clip(0.05, -40.0), clip(0.1, -26.0)])

    assert [each["gain"] for each in found] == [0.5, 0.05, 0.1]
    assert [each["matched"] for each in found] == pytest.approx([0.5, 0.5, 0.1 * 10 ** (6 / 20)])


def test_no_clip_is_played_beyond_full_scale_to_match() -> None:
    # The second is at full scale at -18 LUFS already, so all get -18.
    found = gains([clip(0.9, -10.0), clip(0.5, -18.0 - 6.0206)])

    assert [each["matched"] for each in found] == pytest.approx([0.9 * 10 ** (-8 / 20), 1.0], abs=1e-4)


def test_clips_without_loudness_keep_their_level() -> None:
    assert gains([clip(0.0, None), clip(0.3, None)]) == [
        {"gain": 0.0, "matched": 0.0},
        {"gain": 0.3, "matched": 0.3},
    ]


def test_what_exceeds_full_scale_lowers_everything_alike() -> None:
    sounds = [
        Sound("reference", clip(2.0, -10.0), clip(0.02, -50.0)),
        Sound("mixture", clip(0.5, -22.0), clip(0.0, None)),
    ]
    made = player("page", sounds, [{"short": "reference"}, {"short": "mixture"}], 4.0)

    ways = made.data["ways"]
    assert [each["gain"] for each in ways["file"]["clips"]] == [1.0, 0.25]
    assert [each["gain"] for each in ways["heard"]["clips"]] == [0.01, 0.0]
    assert max(each[name] for way in ways.values() for each in way["clips"] for name in each) <= 1.0


def test_files_are_named_after_their_content() -> None:
    titles = [{"short": "reference"}]
    first = player("page", [Sound("reference", clip(1, -20, b"one"), clip(1, -30, b"two"))], titles, 1.0)
    other = player("page", [Sound("reference", clip(1, -20, b"ONE"), clip(1, -30, b"two"))], titles, 1.0)

    assert len(first.files) == 6  # a file, a picture and a script for each way of hearing
    changed = set(first.files) - set(other.files)
    assert {name.rpartition(".")[2] for name in changed} == {"mp3", "js"}
    assert all("/reference-file-" in name or "/file-" in name for name in changed)
    assert first.data["ways"]["file"]["script"] in first.files


def test_names_of_pages_are_safe_and_unlike() -> None:
    ids = [
        ("scene_1", "L1"),
        ("a_b", "c"),
        ("a", "b_c"),
        ("A", "b_c"),
        ("../up", "x"),
        ("s" * 200, "L1"),
        ("", ""),
        ("é", "/"),
    ]
    names = page_names([Choice(scene, listener, ("because",)) for scene, listener in ids])

    assert list(names) == ids
    assert names["scene_1", "L1"] == "scene_1_L1"
    assert len({name.casefold() for name in names.values()}) == len(ids)
    assert all(name.isascii() and "/" not in name and name[0].isalnum() and len(name) <= 120 for name in names.values())


def test_an_audiogram_has_the_proportions_of_its_kind() -> None:
    left = Audiogram(FREQUENCIES, (20, 20, 25, 55, 75, 95, 95, 95))
    right = Audiogram(FREQUENCIES, (-10, 0, 10, 20, 30, 40, 50, 60))
    drawn = audiogram(Listener("L1", left, right))

    assert OCTAVE == 20 * DECIBEL
    assert [ear["name"] for ear in drawn["ears"]] == ["right", "left"]  # the crosses lie above the circles
    (x_250, y_20), *_, (x_8000, y_95) = drawn["ears"][1]["points"]
    assert x_8000 - x_250 == pytest.approx(5 * OCTAVE, abs=0.2)
    assert y_95 - y_20 == pytest.approx(75 * DECIBEL, abs=0.2)  # downwards
    assert [text for _, text in drawn["frequencies"]] == ["250", "500", "1000", "2000", "4000", "8000"]
    assert drawn["table"][0] == ("250", "20", "−10")
    assert "95 at 8000 Hz" in drawn["ears"][1]["words"]


def test_an_audiogram_that_goes_beyond_the_form() -> None:
    wide = Audiogram((20.0, 125.0, *FREQUENCIES, 16000.0, 40000.0), (0, 0, *[130] * 8, 140, 140))
    drawn = audiogram(Listener("L1", wide, wide))

    left, top, right, bottom = drawn["frame"]
    points = drawn["ears"][0]["points"]
    assert len(points) == 10  # 125 Hz to 16 kHz; the table has all
    assert len(drawn["table"]) == 12
    assert all(left <= x <= right and top <= y <= bottom for x, y in points)
    assert drawn["levels"][-1][1] == "140"
