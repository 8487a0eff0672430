"""The pages of pairs in a real browser: they play, switch without a gap, and stay harmless whatever things are called.

What is played here tells its position: in every clip the right channel rises steadily from -0.8 to 0.8, and the left
channel has a level that no other clip has. All the rest is as in a report.
"""

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from harness.listening import Clip, Sound
from harness.report.boards import Material, materials
from harness.report.choosing import Choice
from harness.report.pages import FOLDER, Pages
from harness.report.pairpages import page_names, pair_page, signals
from harness.report.players import player
from harness.report.words import run_facts
from harness_leaderboard.store import Store

Look = Callable[..., Any]

RATE = 44_100
SECONDS = 2.4
LEFT = {"file": (0.8, 0.6, 0.45, 0.3), "heard": (0.7, 0.5, 0.35, 0.25)}
"""Level of the left channel of each signal in both ways of hearing."""

CHOICE = Choice("scene_00001", "L0003", ("it is the first",))

TAP = """
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (target, ...rest) {
  if (target instanceof AudioDestinationNode && !window.taps) {
    const splitter = this.context.createChannelSplitter(2);
    window.taps = [0, 1].map((channel) => {
      const tap = this.context.createAnalyser();
      tap.fftSize = 32768;
      connect.call(splitter, tap, channel);
      return tap;
    });
    connect.call(this, splitter);
  }
  return connect.call(this, target, ...rest);
};
window.rate = () => window.taps[0].context.sampleRate;
window.recorded = () => window.taps.map((tap) => {
  const samples = new Float32Array(tap.fftSize);
  tap.getFloatTimeDomainData(samples);
  return [...samples];
});
"""
"""Keeps the last 0.7 s of both channels of what goes to the sound device."""


@pytest.fixture(scope="session")
def material(board: Path) -> Material:
    """The board of real systems on the embedded set."""
    url = f"sqlite:///{board}"
    with Store.open(url, create=False) as store:
        return materials(store, None)[0]


def clip(left: float) -> Clip:
    time = np.linspace(-0.8, 0.8, round(SECONDS * RATE))
    content = io.BytesIO()
    soundfile.write(content, np.stack([np.full_like(time, left), time], axis=1), RATE, format="FLAC", subtype="PCM_16")
    return Clip(content.getvalue(), "flac", 1.0, 65.0, None, (0.5,) * 200, b"")


Write = Callable[..., str]


@pytest.fixture
def write(material: Material, tmp_path: Path) -> Write:
    """`write(labels=(), reasons=(), sound=True)`: write the page of a pair, and return its address."""

    def write_page(labels: tuple[str, ...] = (), reasons: tuple[str, ...] = (), sound: bool = True) -> str:
        view = material.view
        runs = {row.source.id: {**run_facts(view, row)} for row in view.rows}
        for facts, label in zip(runs.values(), labels, strict=False):
            facts["label"] = label
        choice = Choice(CHOICE.scene, CHOICE.listener, reasons or CHOICE.reasons)
        names = page_names([choice])
        made = None
        if sound:
            titles = signals(view, choice.id, runs, list(runs)[:2])
            sounds = [
                Sound(title["short"], *map(clip, levels)) for title, *levels in zip(titles, *LEFT.values(), strict=True)
            ]
            made = player(names[choice.id], sounds, titles, SECONDS)
            for path, content in made.files.items():
                if content:
                    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
                    (tmp_path / path).write_bytes(content)
        path = f"pairs/{names[choice.id]}.html"
        page = Pages(view.board).render("pair.html", path, pair_page(view, choice, names, runs, made))
        # There are no pictures of these sounds.
        page = page.replace(b".png", b".svg")
        shutil.copytree(FOLDER / "assets", tmp_path / "assets")
        for picture in {path for path in (made.files if made else ()) if path.endswith(".png")}:
            shutil.copy(FOLDER / "assets" / "icon.svg", (tmp_path / picture).with_suffix(".svg"))
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(page)
        return (tmp_path / path).as_uri()

    return write_page


@pytest.fixture
def listen(look: Look, write: Write) -> Any:
    """The page of a pair, at full volume, with what it plays recorded; loops, and is not playing yet."""
    page = look(write(), script=TAP).page
    page.locator(".volume").fill("0")
    return page


def play(page: Any) -> None:
    page.get_by_role("button", name="Play").click()
    page.get_by_role("button", name="Pause").wait_for()


def recorded(page: Any, level: float, until: str = "true", act: Callable[[], object] = lambda: None) -> tuple[Any, Any]:
    """What was played in 0.4 s of which the last tenth has this level on the left: both channels, once it is so.

    Args:
        page: the page.
        level: of the left channel.
        until: what else has to hold, of `left` and `right`.
        act: what is done once it is watched.
    """
    page.evaluate(
        """([level, until]) => { window.found = new Promise((resolve, reject) => {
          setTimeout(reject, 8000, "nothing like this was played");
          const holds = new Function("left", "right", `return ${until};`);
          const poll = () => {
            const [left, right] = recorded().map((samples) => samples.slice(-Math.round(0.4 * rate())));
            const last = left.slice(-Math.round(0.04 * rate()));
            if (last.every((sample) => Math.abs(sample - level) < 0.01) && holds(left, right)) resolve([left, right]);
            else setTimeout(poll, 20);
          };
          poll();
        }); }""",
        [level, until],
    )
    act()
    left, right = page.evaluate("found")
    return np.array(left), np.array(right)


def jump(page: Any, right: Any) -> float:
    """The largest jump of the position, in seconds; the end of a round is none."""
    rate = page.evaluate("rate()")
    steps = np.diff(right) / (1.6 / SECONDS)  # seconds of the clip that pass with each sample
    inside = steps[np.abs(steps) < 0.9 * SECONDS]
    # A rounding of 16 bit is 0.03 ms.
    return float(np.abs(inside - 1 / rate).max())


def select(page: Any, name: str, value: str) -> None:
    page.locator(f"[name={name}][value='{value}']").check()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_signals_switch_at_the_same_position_without_a_gap(listen: Any, number: int) -> None:
    play(listen)
    recorded(listen, LEFT["file"][0], "left[0] > 0.5")

    left, right = recorded(listen, LEFT["file"][number], act=lambda: listen.keyboard.press(str(number + 1)))
    assert left[:100] == pytest.approx(LEFT["file"][0], abs=0.01)
    assert left.min() > LEFT["file"][number] - 0.01
    moving = (left < LEFT["file"][0] - 0.01) & (left > LEFT["file"][number] + 0.01)
    assert moving.sum() < 0.006 * listen.evaluate("rate()")
    assert jump(listen, right) < 0.0004


def test_another_way_of_hearing_goes_on_at_the_same_position(listen: Any) -> None:
    play(listen)
    listen.keyboard.press("2")
    assert listen.locator(".same").is_checked()
    recorded(listen, LEFT["file"][1], "left[0] > 0.5")

    # Its clips are loaded only now.
    left, right = recorded(listen, LEFT["heard"][1], act=lambda: select(listen, "way", "heard"))
    assert left[:100] == pytest.approx(LEFT["file"][1], abs=0.01)
    assert left.min() > LEFT["heard"][1] - 0.01
    assert jump(listen, right) < 0.0004
    assert not listen.locator(".same").is_checked()
    recorded(listen, LEFT["heard"][1], f"Math.abs(left[0] - {LEFT['heard'][1]}) < 0.01")

    left, right = recorded(listen, LEFT["file"][1], act=lambda: select(listen, "way", "file"))
    assert left[:100] == pytest.approx(LEFT["heard"][1], abs=0.01)
    assert left.min() > LEFT["heard"][1] - 0.01
    assert jump(listen, right) < 0.0004


def test_it_loops_without_a_gap_until_it_is_told_not_to(listen: Any) -> None:
    play(listen)
    left, right = recorded(listen, LEFT["file"][0], "right[0] > 0.5 && right.at(-1) < -0.5")
    assert (np.diff(right) < -1.5).sum() == 1  # the end of a round
    assert left.min() > LEFT["file"][0] - 0.01

    listen.locator(".loop").uncheck()
    listen.get_by_role("button", name="Play").wait_for(timeout=15000)
    assert listen.locator(".time").inner_text() == f"0.0 / {SECONDS} s"
    recorded(listen, 0)


def test_the_keyboard_alone(listen: Any) -> None:
    for _ in range(30):
        listen.keyboard.press("Tab")
        if listen.evaluate("document.activeElement.matches('.seek')"):
            break
    listen.keyboard.press("ArrowRight")
    assert listen.locator(".time").inner_text() == f"0.5 / {SECONDS} s"
    assert listen.locator(".seek").get_attribute("aria-valuetext") == f"0.5 of {SECONDS} seconds"
    listen.keyboard.press("ArrowRight")
    listen.keyboard.press("ArrowLeft")
    assert listen.locator(".time").inner_text() == f"0.5 / {SECONDS} s"

    listen.keyboard.press(" ")
    listen.get_by_role("button", name="Pause").wait_for()
    listen.keyboard.press("3")
    assert listen.locator("[name=signal]:checked").get_attribute("value") == "2"
    listen.keyboard.press("9")  # there is none
    assert listen.locator("[name=signal]:checked").get_attribute("value") == "2"
    listen.wait_for_timeout(200)
    listen.keyboard.press(" ")
    listen.get_by_role("button", name="Play").wait_for()
    stopped = listen.locator(".time").inner_text()
    assert not stopped.startswith("0.0")
    listen.wait_for_timeout(300)
    assert listen.locator(".time").inner_text() == stopped

    listen.keyboard.press("Tab")  # to the button itself: a space is its own
    assert listen.evaluate("document.activeElement.matches('.play')")
    listen.keyboard.press(" ")
    listen.get_by_role("button", name="Pause").wait_for()


def test_a_click_on_the_picture_is_a_position(listen: Any) -> None:
    play(listen)
    recorded(listen, LEFT["file"][0], "left[0] > 0.5")
    box = listen.locator(".stack").bounding_box()
    left, right = recorded(
        listen,
        LEFT["file"][0],
        "right.at(-Math.round(0.02 * rate())) - right[0] > 0.4",  # more than could be played in this time
        lambda: listen.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + 0.9 * box["height"]),
    )
    assert left.min() > LEFT["file"][0] - 0.01
    assert 1.6 * 0.74 - 0.8 < right[-1] < 0.8


def test_volume(listen: Any) -> None:
    play(listen)
    listen.locator(".volume").fill("-20")
    assert listen.locator(".decibels").inner_text() == "−20 dB"
    left, _ = recorded(listen, LEFT["file"][0] / 10)
    assert left[-100:] == pytest.approx(LEFT["file"][0] / 10, abs=0.001)


def test_one_sound_at_a_time(listen: Any) -> None:
    listen.get_by_text("Files", exact=True).click()
    first, second = listen.locator("audio").nth(0), listen.locator("audio").nth(3)
    play(listen)
    first.evaluate("audio => audio.play()")
    listen.get_by_role("button", name="Play").wait_for()
    second.evaluate("audio => audio.play()")
    listen.wait_for_function("document.querySelectorAll('audio')[0].paused")
    assert second.evaluate("audio => audio.duration") == pytest.approx(SECONDS, abs=0.05)
    play(listen)
    assert second.evaluate("audio => audio.paused")


@pytest.mark.parametrize(
    "broken",
    [
        "AudioContext.prototype.resume = () => new Promise(() => {});",
        "AudioContext = class { constructor() { throw new Error('none') } };",
    ],
)
def test_without_a_sound_device_the_files_remain(look: Look, write: Write, broken: str) -> None:
    page = look(write(), script=broken).page
    page.get_by_role("button", name="Play").click()
    page.get_by_text("No sound device answers.").wait_for(timeout=5000)
    assert page.locator("audio").first.is_visible()
    assert page.get_by_role("button", name="Play").is_enabled()


def test_a_copy_without_its_sound_says_so(look: Look, write: Write, tmp_path: Path) -> None:
    watched = look(write())
    for script in (tmp_path / "audio").rglob("file-*.js"):
        script.unlink()
    watched.page.get_by_role("button", name="Play").click()
    watched.page.get_by_text("The sound of this page is missing").wait_for()
    assert [problem for problem in watched.problems if "ERR_FILE_NOT_FOUND" not in problem] == []
    watched.problems.clear()


HOSTILE = (
    "</script><script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'> \"&' {{ 7 * 7 }} " + "W" * 150,
    "🎧\u202e<b>",
)


def test_hostile_names_are_text(look: Look, write: Write) -> None:
    page = look(write(labels=HOSTILE, reasons=HOSTILE)).page
    play(page)
    page.get_by_role("button", name="Pause").press("3")
    assert page.locator("[role=status]").inner_text().startswith("</script>")
    cards = page.locator(".choices .name").all_inner_texts()
    assert cards == ["Reference", "Mixture", *HOSTILE[:2]]
    assert page.evaluate("window.hacked") is None
    assert page.locator("img[src=x], .choices b b").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_everybody_can_use_it(look: Look, write: Write, scheme: str, width: int) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = look(write(), width=width, scheme=scheme).page
    for closed in page.locator("details").all():
        closed.evaluate("details => { details.open = true; }")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # Of a page from a disk no program may read the style sheets again.
    found = Axe().run(page, options={"preload": False})
    assert found.response["violations"] == [], found.generate_report()
    # axe leaves text in SVG aside.
    for text, contrast in page.evaluate(CONTRAST):
        assert contrast >= 4.5, text


CONTRAST = """() => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((value) => value / 255)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = light(getComputedStyle(document.body).backgroundColor);
  return [...document.querySelectorAll("svg text")].map((text) => {
    const ink = light(getComputedStyle(text).fill);
    return [text.textContent, (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05)];
  });
}"""
"""Contrast of every text in an SVG against the page (WCAG 2.2, relative luminance)."""


def test_without_sound_it_says_how_to_get_it(look: Look, write: Write) -> None:
    page = look(write(sound=False)).page
    assert page.get_by_text("harness report --audio N").is_visible()
    assert page.locator("svg.audiogram").is_visible()
    assert page.locator("audio, [data-player]").count() == 0
