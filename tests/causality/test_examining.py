"""What `harness run` finds out of a system's causality, by real processes and real streams."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from causality.small import GAINS, LISTENER, music
from support import TinySet

from harness.apart.inprocess import InProcess
from harness.apart.output import Output
from harness.apart.process import Terms
from harness.apart.running import Apart, Found, Running, Wanted
from harness.causality.examining import WrongLatency, calls_of, examine, look_at
from harness.causality.subject import Subject, music_of, subject_of
from harness.errors import DataError, SystemFailure, UsageError
from harness.making.make import loaded_manifest
from harness.music.evaluationset import EvaluationSet
from harness.music.finding import load_evaluation_set
from harness.submission.causality import CausalityRecord
from harness.systems import STEMS
from harness.systems.streaming import StreamingSeparator

Plugin = Callable[..., Path]


@pytest.fixture
def found_set(tiny_set: TinySet) -> EvaluationSet:
    return load_evaluation_set(str(tiny_set.root), None)


@contextmanager
def at_work(path: Path, apart: bool = False) -> Iterator[tuple[Running, Found]]:
    """A plugin's system, found: in this process, which is quicker, or in one of its own."""
    wanted = Wanted("probe", plugins=(str(path),))
    running: Running = Apart(wanted, Terms(), Output()) if apart else InProcess(wanted)
    try:
        running.start()
        yield running, running.find()
    finally:
        running.close()


def examined(path: Path, evaluation_set: EvaluationSet, apart: bool = False, **how) -> CausalityRecord | None:
    with at_work(path, apart) as (running, found):
        manifest = loaded_manifest(running, found.kind, evaluation_set, False)
        return examine(running, found, manifest, evaluation_set, **how)


def streaming(plugin: Plugin, process: str, block: int = 110, latency: int = 0, prepare: str = "pass") -> Path:
    """A plugin whose streaming system returns `process`, of the block x, as its four stems."""
    body = f"""
        block, latency = {block}, {latency}

        def prepare(self, sample_rate, block, channels):
            {prepare}

        def process(self, x):
            y = {process}
            return {{stem: y / 4 for stem in STEMS}}
    """
    path = plugin(body, base="StreamingSeparator")
    path.write_text(path.read_text().replace("import STEMS,", "import STEMS, StreamingSeparator,"))
    return path


def separating(plugin: Plugin, process: str, declared: bool = True) -> Path:
    """A plugin whose separator returns `process`, of the mixture x, as its four stems."""
    return plugin(f"""
        causal = {declared}

        def separate(self, x, sample_rate):
            y = {process}
            return {{stem: y / 4 for stem in STEMS}}
    """)


def test_a_liar_is_found_out_by_one_cut(plugin: Plugin, found_set: EvaluationSet) -> None:
    record = examined(separating(plugin, "x / np.abs(x).max()"), found_set, apart=True)
    assert record is not None
    assert (record.basis, record.verdict, record.cuts) == ("measured", "not causal", 1)
    assert record.gain_db is not None


def test_who_declares_causal_and_is_gets_16_cuts(plugin: Plugin, found_set: EvaluationSet) -> None:
    done = []
    path = separating(plugin, "np.concatenate([x[100:], np.zeros((100, 2))])")
    record = examined(path, found_set, advance=lambda count, what: done.append(count))
    assert record is not None
    assert (record.verdict, record.cuts, record.look_ahead) == ("causal", 16, 100)
    assert sum(done) == calls_of(Found("probe", "1", "separator"))


def test_numbers_at_random_are_the_same_each_time(plugin: Plugin, found_set: EvaluationSet) -> None:
    record = examined(separating(plugin, "x + 1e-3 * np.random.standard_normal(x.shape)"), found_set, apart=True)
    assert record is not None
    assert (record.verdict, record.noise_db) == ("causal", None)


def test_who_declares_nothing_is_not_examined_unless_it_wants_to_be(plugin: Plugin, found_set: EvaluationSet) -> None:
    path = separating(plugin, "x / np.abs(x).max()", declared=False)
    assert examined(path, found_set) is None
    path.write_text(path.read_text().replace("causal = False", "causal, measure_look_ahead = False, True"))
    record = examined(path, found_set)
    assert record is not None
    assert record.verdict == "not causal"


def test_a_system_that_fails_on_a_made_up_piece_gets_no_verdict(plugin: Plugin, found_set: EvaluationSet) -> None:
    record = examined(separating(plugin, "x if len(x) == 176400 else 1 / 0"), found_set, apart=True)
    assert record is not None
    assert (record.verdict, record.basis, record.look_ahead) == ("none", "measured", None)
    assert record.reason.startswith("system probe raised ZeroDivisionError")
    assert "stop from" in record.reason


def test_a_reference_is_not_examined(found_set: EvaluationSet) -> None:
    running = InProcess(Wanted("oracle"))
    found = running.find()
    manifest = loaded_manifest(running, found.kind, found_set, False)
    assert examine(running, found, manifest.model_copy(update={"measure": True}), found_set) is None
    with pytest.raises(UsageError, match="oracle is a reference"):
        subject_of(running, found, found_set)


def test_a_streaming_system_is_causal_by_its_block(plugin: Plugin, found_set: EvaluationSet) -> None:
    done = []
    record = examined(streaming(plugin, "x"), found_set, advance=lambda count, what: done.append(count))
    assert record is not None
    assert (record.basis, record.verdict, record.look_ahead, record.delay) == ("streamed", "causal", 109, 0)
    assert "latency 0 confirmed" in record.reason
    assert sum(done) == calls_of(Found("probe", "1", "separator", streaming=True)) == 7


LATE = "self.past = np.concatenate([self.past, x]); x, self.past = self.past[:len(x)], self.past[len(x):]"


def late(plugin: Plugin, lag: int, declared: int) -> Path:
    """A streaming system that lags by `lag` samples and declares another latency, perhaps."""
    path = streaming(plugin, "x", 110, declared, f"self.past = np.zeros(({lag}, 2))")
    path.write_text(path.read_text().replace("y = x", LATE + "\n        y = x"))
    return path


def test_latency_that_the_block_leaves_is_look_ahead_and_the_rest_delay(
    plugin: Plugin, found_set: EvaluationSet
) -> None:
    record = examined(late(plugin, 200, 200), found_set, apart=True)
    assert record is not None
    assert (record.verdict, record.look_ahead, record.delay) == ("causal", 220, 89)
    assert "latency 200 confirmed" in record.reason


def test_a_filters_group_delay_is_no_lie(plugin: Plugin, found_set: EvaluationSet) -> None:
    record = examined(late(plugin, 20, 0), found_set)
    assert record is not None
    assert (record.verdict, record.delay) == ("causal", 0)


@pytest.mark.parametrize(("lag", "declared"), [(500, 0), (0, 60), (100, 400)])
def test_another_latency_than_declared_is_a_failure_with_both_figures(
    lag: int, declared: int, plugin: Plugin, found_set: EvaluationSet
) -> None:
    with pytest.raises(WrongLatency, match=f"probe declares a latency of {declared} samples.* by {lag}"):
        examined(late(plugin, lag, declared), found_set)


def test_a_large_block_is_not_causal(plugin: Plugin, found_set: EvaluationSet) -> None:
    record = examined(streaming(plugin, "x * (1 + np.std(x))", block=512), found_set)
    assert record is not None
    assert (record.basis, record.verdict, record.look_ahead) == ("streamed", "not causal", 511)
    assert not record.whole_piece


def test_what_does_not_resemble_the_music_has_no_latency_confirmed(plugin: Plugin, found_set: EvaluationSet) -> None:
    path = streaming(plugin, "self.rng.standard_normal(x.shape)", prepare="self.rng = np.random.default_rng(1)")
    record = examined(path, found_set)
    assert record is not None
    assert (record.verdict, record.look_ahead, record.delay) == ("causal", 109, None)
    assert "latency 0 not confirmed" in record.reason


def test_a_streaming_system_that_does_not_forget_gets_no_verdict(plugin: Plugin, found_set: EvaluationSet) -> None:
    path = streaming(plugin, "x * self.gain", prepare="self.gain = getattr(self, 'gain', 1.0) * 0.9")
    record = examined(path, found_set)
    assert record is not None
    assert (record.basis, record.verdict, record.look_ahead, record.delay) == ("streamed", "none", None, 0)
    assert "two calls with the same music differ" in record.reason


class Listening(StreamingSeparator):
    """Is told by somebody else what the whole piece is."""

    name, version, training_data, licence = "listening", "1", "none", "none"
    told = 1.0

    def prepare(self, sample_rate, block, channels):
        pass

    def process(self, block):
        return dict.fromkeys(STEMS, block / self.told)


def test_a_future_that_comes_another_way_is_seen(found_set: EvaluationSet) -> None:
    system = Listening()
    running = InProcess.of(system)
    running.load()

    class Telling(Subject):
        def __call__(self, x):
            system.told = float(np.abs(x).sum())
            return super().__call__(x)

    subject = Telling(running, Found("listening", "1", "separator", streaming=True), LISTENER, GAINS)
    record = look_at(subject, music(2.0))
    assert (record.basis, record.verdict, record.look_ahead) == ("streamed", "not causal", None)
    assert "streamed, and yet its output changes" in record.reason


@pytest.mark.parametrize(("chain", "delay"), [(None, 0), ("live", 110), ("baseline", 110)])
def test_behind_a_chain(chain, delay: int, plugin: Plugin, found_set: EvaluationSet) -> None:
    """Stems that are no copies of the mixture: the baseline's loudness is that of the whole piece."""
    path = plugin("""
        causal = True

        def separate(self, x, sample_rate):
            late = np.concatenate([np.zeros((1, 2)), x[:-1]])
            return {"vocals": x - late, "drums": late / 2, "bass": late / 4, "other": late / 4}
    """)
    with at_work(path) as (running, found):
        running.load()
        subject = subject_of(running, found, found_set, chain)
        record = look_at(subject, music_of(found_set, 2.0), cuts=3)
    assert record.delay == delay
    if chain == "baseline":
        assert (record.verdict, record.whole_piece) == ("not causal", True)
        assert record.gain_db is not None
    else:
        assert (record.verdict, record.look_ahead) == ("causal", 0)


def test_a_streaming_system_behind_the_live_chain(plugin: Plugin, found_set: EvaluationSet) -> None:
    with at_work(late(plugin, 200, 200)) as (running, found):
        running.load()
        record = look_at(subject_of(running, found, found_set, "live"), music_of(found_set, 1.5), cuts=1)
    # 89 samples of its latency remain, and NAL-R's 110.
    assert (record.basis, record.verdict, record.look_ahead, record.delay) == ("streamed", "causal", 220, 199)


def test_a_streaming_system_behind_the_baselines_chain(plugin: Plugin, found_set: EvaluationSet) -> None:
    path = streaming(plugin, "x")
    # One ear in both: no copies of the mixture, so that the loudness of the whole piece does not cancel.
    path.write_text(path.read_text().replace("y = x", "y = x[:, :1] * [1, 1]"))
    with at_work(path) as (running, found):
        running.load()
        record = look_at(subject_of(running, found, found_set, "baseline"), music_of(found_set, 1.5), cuts=1)
    assert (record.basis, record.verdict, record.whole_piece) == ("measured", "not causal", True)


def test_an_enhancer_owns_its_chain(found_set: EvaluationSet) -> None:
    with pytest.raises(UsageError, match="leave --chain out"):
        subject_of(InProcess(Wanted("passthrough")), Found("passthrough", "1", "enhancer"), found_set, "live")


def test_listener_and_gains_do_something(found_set: EvaluationSet) -> None:
    subject = subject_of(InProcess(Wanted("x")), Found("x", "1", "separator"), found_set)
    assert any(subject.gains.values())
    assert max(subject.listener.left.levels) > 0
    assert max(subject.listener.right.levels) > 0


def test_music_is_joined_and_repeated(found_set: EvaluationSet) -> None:
    piece = music_of(found_set, 3.0)
    assert piece.shape == (3 * 44100, 2)
    frames = [scene.frames for scene in found_set.scenes]
    assert len(piece) > sum(frames)
    assert np.abs(piece[0]).max() > 0.01 * np.abs(found_set.scenes[0].read("mixture")).max()
    assert music_of(found_set, 0.5) == pytest.approx(piece[:22050])


def test_silent_music_is_refused(tiny_set: TinySet) -> None:
    import soundfile

    for scene in ("scene_V001", "scene_V002"):
        path = tiny_set.music(scene=scene)
        soundfile.write(path, np.zeros((soundfile.info(path).frames, 2)), 44100, subtype="PCM_16")
    with pytest.raises(DataError, match=r"all music of .* is silent"):
        music_of(load_evaluation_set(str(tiny_set.root), None), 1.0)


def test_a_failure_has_the_systems_name(plugin: Plugin, found_set: EvaluationSet) -> None:
    with at_work(separating(plugin, "None"), apart=True) as (running, found):
        running.load()
        with pytest.raises(SystemFailure, match=r"^system probe"):
            look_at(subject_of(running, found, found_set), music(1.0), cuts=1)
