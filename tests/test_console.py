"""How long work will take, told from the times at which results came; and what is printed of strangers' names."""

import io
import json

import pytest
from rich.console import Console

from harness import console
from harness.console import Pace


def paced(times: list[float], total: int, workers: int = 1) -> Pace:
    """A pace with a result at each of these times."""
    pace = Pace(total, workers)
    for now in times:
        pace.add(now, 1)
    return pace


def test_nothing_is_said_before_it_means_something() -> None:
    assert paced([], 100).seconds_left(0.0) is None
    # One result, after a long compilation: the mean would say 100 minutes.
    assert paced([60.0], 101).seconds_left(60.0) is None
    assert paced([60.0, 61.0, 62.0, 63.0], 101).seconds_left(63.0) is None
    assert paced([60.0, 61.0, 62.0, 63.0, 64.0], 105).seconds_left(64.0) == pytest.approx(100)
    # Results that came at once have no pace yet.
    assert paced([60.0 + 0.01 * index for index in range(50)], 100).seconds_left(61.0) is None


def test_an_even_pace() -> None:
    pace = paced([2.0 * index for index in range(1, 51)], 100)
    assert pace.per_second == pytest.approx(0.5)
    assert pace.seconds_left(100.0) == pytest.approx(100)
    assert pace.seconds_left(110.0) == pytest.approx(90)
    assert pace.seconds_left(1000.0) == 0


def test_a_slow_beginning_is_soon_forgotten() -> None:
    # Three slow checks of 25 s each, then 1 s for each of 189.
    times = [25.0, 50.0, 75.0] + [75.0 + index for index in range(1, 11)]
    left = paced(times, 192).seconds_left(times[-1])
    assert left == pytest.approx(179, rel=0.01)


def test_the_first_result_of_each_worker_is_left_out() -> None:
    # Four workers, each 40 s for the first and 4 s for each other, in bursts.
    times = [40.0 + step / 100 for step in range(4)]
    assert paced(times, 100, workers=4).seconds_left(40.1) is None
    for burst in range(1, 5):
        times += [40.0 + 4 * burst + step / 100 for step in range(4)]
    left = paced(times, 100, workers=4).seconds_left(times[-1])
    assert left == pytest.approx(80, rel=0.15)


def test_rare_slow_steps_count() -> None:
    times, now = [], 0.0
    for index in range(400):
        now += 31.0 if index % 100 == 50 else 1.0
        times.append(now)
    assert paced(times, 800).seconds_left(now) == pytest.approx(520, rel=0.05)


def test_what_was_there_already_says_nothing_of_the_pace() -> None:
    pace = Pace(1000)
    pace.add(0.0, 900)
    assert pace.seconds_left(0.0) is None
    for index in range(1, 7):
        pace.add(10.0 * index, 1)
        pace.add(10.0 * index, 0)
    assert pace.done == 906
    assert pace.seconds_left(60.0) == pytest.approx(940)


# What strangers' names do to a terminal

HOSTILE = "a[bold]b[/red]\x1b[31m\x07\u202e:smile:\ndone\\"
HARMLESS = "a[bold]b[/red]\\x1b[31m\\x07\\u202e:smile:\\ndone\\"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Standard error as a terminal."""
    shown = io.StringIO()
    monkeypatch.setattr(
        console, "err", Console(file=shown, force_terminal=True, width=200, highlight=False, emoji=False)
    )
    return shown


def test_a_progress_bar_shows_names_as_they_are(terminal: io.StringIO) -> None:
    with console.progress(HOSTILE, 2, "pairs") as advance:
        advance(1, HOSTILE + "2")
        advance(1, HOSTILE + "3")
    shown = terminal.getvalue()
    assert HARMLESS + " " in shown
    assert HARMLESS + "3" in shown
    assert not {"\x07", "\u202e", "😄"} & set(shown)
    assert "\x1b[31mx" not in shown


def test_lines_of_progress_show_names_as_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "LINE_SECONDS", 0.0)
    with console.progress(HOSTILE, 1, "pairs") as advance:
        advance(1, HOSTILE)
    assert capsys.readouterr().err == f"{HARMLESS}: 1 of 1 pairs, {HARMLESS}\n"


def test_lines_and_warnings_show_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    console.say(HOSTILE)
    console.warn(HOSTILE)
    two_lines = HARMLESS.replace("\\n", "\n")
    assert capsys.readouterr().err == f"{two_lines}\nwarning: {two_lines}\n"


def test_json_is_ascii_whatever_it_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"Größe \udcff": ["\ud800", "😄", "\x1b", "\\udcff", 0.1, None]}
    console.print_json(value)
    printed = capsys.readouterr().out
    assert printed.isascii()
    read = json.loads(printed)
    assert read == {"Größe \\udcff": ["\\ud800", "😄", "\x1b", "\\udcff", 0.1, None]}
    json.dumps(read, ensure_ascii=False).encode()  # no surrogate is left
