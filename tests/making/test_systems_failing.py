"""Systems that do something wrong: a line names the system and the reason, and nothing else is lost."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support import FRAMES, Outcome, RunCli, TinySet

from harness.challenge import PROTOCOL
from harness.music.layout import load

Write = Callable[..., Path]
REMIX = "def enhance(self, mixture, sample_rate, listener, gains):\n    "
STEMS = "def separate(self, mixture, sample_rate):\n    "
QUARTERS = "dict.fromkeys(STEMS, mixture / 4)"
MANIFEST = Path("submissions/probe/submission.json")


@pytest.fixture
def enhance(run_cli: RunCli, tiny_set: TinySet, plugin: Write) -> Callable[..., Outcome]:
    """Run a system with this class body over the tiny set."""

    def run(body: str, base: str = "", *args: object) -> Outcome:
        path = plugin(body, base=base or ("Enhancer" if "def enhance" in body else "Separator"))
        return run_cli("enhance", "--system", "probe", "--plugin", path, *tiny_set.args, "--json", *args)

    return run


FAILING = {
    # what the system does: its body, the reason given for each of the four pairs
    "separator raises": (
        STEMS + "raise RuntimeError('out of\\nluck')",
        "system probe raised RuntimeError: out of luck (plugin.py:13)",
    ),
    "enhancer raises": (REMIX + "raise ValueError('no')", "system probe raised ValueError: no (plugin.py:13)"),
    "separator exits": (STEMS + "sys.exit(3)", "system probe raised SystemExit: 3 (plugin.py:13)"),
    "enhancer exits": (REMIX + "sys.exit()", "system probe raised SystemExit"),
    "enhancer has the wrong arguments": (
        "def enhance(self, mixture):\n    return mixture",
        "raised TypeError: Probe.enhance() takes 2",
    ),
    "no stems at all": (STEMS + "return None", "signal for each of vocals, drums, bass, other; it returned NoneType"),
    "one array for all stems": (STEMS + "return np.stack([mixture] * 4)", "each of vocals, drums, bass, other; it re"),
    "missing stem": (
        STEMS + "return {'vocals': mixture, 'drums': mixture, 'bass': mixture}",
        "must return a signal for each of vocals, drums, bass, other; it returned vocals, drums, bass",
    ),
    "stem transposed": (
        STEMS + f"return {{**{QUARTERS}, 'bass': mixture.T}}",
        f"system probe: its stem bass has shape (2, {FRAMES}), expected (samples, 2)",
    ),
    "stem mono": (
        STEMS + f"return {{**{QUARTERS}, 'bass': mixture[:, 0]}}",
        f"its stem bass has shape ({FRAMES},), exp",
    ),
    "stem too short": (
        STEMS + f"return {{**{QUARTERS}, 'drums': mixture[:-1]}}",
        f"its stem drums has {FRAMES - 1} samples, expected {FRAMES}",
    ),
    "stem NaN": (STEMS + f"return {{**{QUARTERS}, 'other': mixture * np.nan}}", "its stem other holds values that are"),
    "stem of integers": (
        STEMS + f"return {{**{QUARTERS}, 'other': (mixture * 32768).astype(np.int16)}}",
        "its stem other is a int16 array, expected a NumPy array of floats",
    ),
    "stem of lists of texts": (STEMS + f"return {{**{QUARTERS}, 'other': 'la'}}", "its stem other is a <U2 array, exp"),
    "four silent stems": (STEMS + "return dict.fromkeys(STEMS, 0 * mixture)", "returned silence in all four stems"),
    "stems too large for any loudness": (STEMS + "return dict.fromkeys(STEMS, mixture * 1e300)", "its remix is "),
    "remix mono": (REMIX + "return mixture.mean(axis=1)", f"its remix has shape ({FRAMES},), expected (samples, 2)"),
    "remix too short": (
        REMIX + "return mixture[:-1]",
        f"its remix has {FRAMES - 1} samples, expected {FRAMES} to {FRAMES + 220}",
    ),
    "remix too long": (REMIX + "return np.pad(mixture, ((0, 221), (0, 0)))", f"its remix has {FRAMES + 221} samples"),
    "remix infinite": (REMIX + "return mixture + np.inf", "its remix holds values that are not finite"),
    "remix too large": (REMIX + "return mixture * 1e308 * 10", "its remix "),
    "remix silent": (REMIX + "return 0 * mixture", "system probe: returned silence"),
    "remix silent in 16 bit": (REMIX + "return 1e-9 * mixture", "its remix is silent: every sample is zero in 16 bit"),
    "remix of integers": (REMIX + "return np.ones((len(mixture), 2), int)", "its remix is a int64 array, expected"),
    "remix a list": (REMIX + "return mixture.tolist()", "its remix is a list, expected a NumPy array of floats"),
    "remix nothing": (REMIX + "pass", "its remix is a NoneType, expected a NumPy array of floats"),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("case", FAILING)
def test_whatever_a_system_does_wrong_is_the_reason_of_its_pairs(case: str, enhance: Callable[..., Outcome]) -> None:
    body, expected = FAILING[case]
    outcome = enhance(body)
    assert outcome.code == 1
    assert len(outcome.json["failures"]) == 4
    for failure in outcome.json["failures"]:
        assert expected in failure["reason"]
        assert failure["reason"].startswith("system probe")
        assert "\n" not in failure["reason"]
    assert outcome.json["made"] == 0
    assert list(Path("submissions/probe").glob("*.flac")) == []
    assert list(Path("submissions/probe").glob(".*")) == []


UNABLE = {
    # what fails before any music is touched: the body, what the one line says
    "init raises": (
        "def __init__(self, **settings):\n    1 / 0",
        "could not be set up: ZeroDivisionError: division by",
    ),
    "init exits": ("def __init__(self, **settings):\n    sys.exit('bye')", "could not be set up: SystemExit: bye"),
    "init forgets super": (
        "def __init__(self, **settings):\n    pass",
        "system probe has no settings: call super().__init__(**settings) in its __init__",
    ),
    "load raises": ("def load(self):\n    raise OSError('two\\nlines')", "could not be set up: OSError: two lines"),
    "load exits": ("def load(self):\n    sys.exit(1)", "system probe could not be set up: SystemExit: 1"),
    "unknown label": (
        "def load(self):\n    self.training_data = 'x'",
        "system probe could not be set up: KeyError: 'x'",
    ),
    "parameters raise": (
        "parameters = property(lambda self: 1 / 0)",
        "system probe could not be set up: ZeroDivisionError",
    ),
    "parameters negative": ("parameters = -1", "system probe declares itself wrongly: parameters: Input should be"),
    "no hash": (
        "def weights_sha256(self):\n    return 'none'",
        "probe declares itself wrongly: weights_sha256: String",
    ),
    "long version": (
        "version = '1' * 101",
        "system probe declares itself wrongly: version: String should have at most",
    ),
}


@pytest.mark.parametrize("case", UNABLE)
def test_a_system_that_cannot_start_is_one_line(case: str, enhance: Callable[..., Outcome]) -> None:
    body, expected = UNABLE[case]
    outcome = enhance(f"{body}\n\n{STEMS}return {QUARTERS}")
    assert outcome.code == 1
    assert expected in outcome.error
    assert "probe" in outcome.error
    assert outcome.stdout == ""


def samples_of(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: soundfile.read(path, dtype="int16")[0] for path in sorted(folder.glob("*.flac"))}


@pytest.mark.parametrize(
    ("plain", "peculiar"),
    [
        (STEMS + f"return {QUARTERS}", STEMS + f"result = {QUARTERS}\n    mixture[:] = 7\n    return result"),
        (STEMS + f"return {QUARTERS}", STEMS + f"return {{**{QUARTERS}, 'piano': None}}"),
        (
            STEMS + "return dict.fromkeys(STEMS, mixture.astype(np.float32))",
            STEMS + "return dict.fromkeys(STEMS, mixture.astype(np.float32).astype(float))",
        ),
        (
            REMIX + "return amplify(mixture * 10 ** (gains['vocals'] / 20), listener)",
            REMIX + "result = amplify(mixture * 10 ** (gains['vocals'] / 20), listener)\n"
            "    mixture[:] = 7\n    gains['vocals'] = 0\n    return result",
        ),
        (
            REMIX + "return mixture + 0.01 * listener.left.levels[0]",
            # One buffer for all listeners: what was returned changes while it is still being written.
            "buffer = np.empty((1, 2))\n\n"
            + REMIX
            + "self.buffer = np.resize(self.buffer, mixture.shape) if len(self.buffer) == 1 else self.buffer\n"
            "    self.buffer[:] = mixture + 0.01 * listener.left.levels[0]\n    return self.buffer",
        ),
    ],
    ids=["input changed", "extra stem", "float32", "input and gains changed", "one buffer"],
)
def test_peculiar_habits_change_no_sample(plain: str, peculiar: str, enhance: Callable[..., Outcome]) -> None:
    assert enhance(plain, "", "--output", "plain", "--workers", 1).code == 0
    assert enhance(peculiar, "", "--output", "peculiar", "--workers", 1).code == 0
    expected, found = samples_of(Path("plain")), samples_of(Path("peculiar"))
    assert len(expected) == 4
    assert all(np.array_equal(found[name], samples) for name, samples in expected.items())


def test_an_enhancers_remix_may_or_may_not_have_a_tail(enhance: Callable[..., Outcome], tiny_set: TinySet) -> None:
    for tail in (0, 220):
        body = REMIX + f"return np.pad(mixture, ((0, {tail}), (0, 0)))"
        assert enhance(body, "", "--output", f"tail{tail}").code == 0
        for samples in samples_of(Path(f"tail{tail}")).values():
            assert len(samples) in PROTOCOL.remix_frames(FRAMES)


def test_only_what_failed_is_tried_again(enhance: Callable[..., Outcome]) -> None:
    """It fails for the first piece of music that it meets, and never again."""
    body = (
        STEMS + "with open('calls', 'a') as calls:\n        calls.write('x')\n"
        "    with open('calls') as calls:\n        count = len(calls.read())\n"
        "    if count == 1:\n        raise RuntimeError('not this one')\n"
        f"    return {QUARTERS}"
    )
    first = enhance(body)
    assert (first.code, first.json["made"], first.json["kept"]) == (1, 2, 0)
    assert [(each["scene"], each["listener"]) for each in first.json["failures"]] == [
        ("scene_V001", "V1"),
        ("scene_V001", "V2"),
    ]
    written = {path: path.stat().st_mtime_ns for path in Path("submissions/probe").glob("*.flac")}
    assert len(written) == 2
    assert len(json.loads(MANIFEST.read_text())["files"]) == 2

    second = enhance(body)
    assert (second.code, second.json["made"], second.json["kept"], second.json["failures"]) == (0, 2, 2, [])
    assert Path("calls").read_text() == "xxx"
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert len(json.loads(MANIFEST.read_text())["files"]) == 4


def test_a_system_that_failed_throughout_may_be_mended_and_tried_again(enhance: Callable[..., Outcome]) -> None:
    assert enhance(STEMS + "raise RuntimeError").code == 1
    assert enhance(STEMS + f"return {QUARTERS}").json["made"] == 4


def test_failures_are_said_in_the_summary(run_cli: RunCli, tiny_set: TinySet, plugin: Write) -> None:
    path = plugin(STEMS + "raise RuntimeError('[red]no')")
    outcome = run_cli("enhance", "--system", "probe", "--plugin", path, *tiny_set.args)
    assert outcome.code == 1
    assert "failed: scene_V002 V2: system probe raised RuntimeError: [red]no (plugin.py:13)" in outcome.stderr
    assert outcome.stderr.splitlines()[-1] == "4 pairs failed; run the same command again to retry them"


def test_the_true_stems_are_for_a_reference_only_and_it_is_marked(
    enhance: Callable[..., Outcome], tiny_set: TinySet, run_cli: RunCli
) -> None:
    """A third-party Reference gets the stems, and its submission says so."""
    body = "def stems(self, true_stems, sample_rate):\n    np.save('got', true_stems['vocals'])\n    return true_stems"
    assert enhance(body, "Reference").code == 0
    scene = load(tiny_set.root).scenes[-1]
    assert np.array_equal(np.load("got.npy"), scene.read("vocals"))
    assert json.loads(MANIFEST.read_text())["reference"] is True

    (tiny_set.root / "audio").rename(tiny_set.root / "hidden")
    for scene in load(tiny_set.root).scenes:
        scene.folder.mkdir(parents=True)
        hidden = tiny_set.root / "hidden" / scene.folder.relative_to(tiny_set.root / "audio")
        (hidden / "mixture.wav").rename(scene.folder / "mixture.wav")
    # A separator needs no stem on disk at all.
    separated = enhance(STEMS + f"return {QUARTERS}", "", "--output", "separated")
    assert separated.code == 0
    assert json.loads(Path("separated/submission.json").read_text())["reference"] is False
    cheated = run_cli("enhance", "--system", "oracle", *tiny_set.args)
    assert (cheated.code, "no music file" in cheated.error) == (2, True)
