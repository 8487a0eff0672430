"""The audit, on small systems whose look-ahead is known."""

from functools import partial

import numpy as np
import pytest
from causality.small import KNOWN, Known, dithered, in_blocks, music, one_pole

from harness.causality.audit import audit, calls_for, missed
from harness.causality.futures import PASTS, changed, other_than
from harness.enhancement import Signal
from harness.errors import SystemFailure
from harness.submission.causality import CausalityRecord


@pytest.fixture(scope="module")
def piece() -> Signal:
    return music(4.0)


class Counted:
    """A system that is seeded before each call, and counted."""

    def __init__(self, process):
        self.process, self.calls = process, 0

    def __call__(self, x):
        self.calls += 1
        np.random.seed(0)
        return self.process(x)


def audited(process, piece, cuts=8, **how) -> CausalityRecord:
    return audit(Counted(process), piece, other_than(piece), cuts=cuts, **how)


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.process.__name__)
def test_each_small_system_gets_its_verdict(known: Known, piece: Signal) -> None:
    record = audited(known.process, piece)
    assert record.verdict == known.verdict, record.reason
    if known.look_ahead is None:
        assert record.look_ahead is None
        assert record.whole_piece == (known.verdict == "not causal")
    else:
        assert record.look_ahead is not None
        assert known.look_ahead[0] <= record.look_ahead <= known.look_ahead[1]
        assert not record.whole_piece
    assert (record.gain_db is not None) == known.gain
    if known.delay is not None:
        assert record.delay == known.delay
    assert record.in_words.startswith(
        {"causal": "causal within", "none": "no verdict"}.get(known.verdict, "not causal")
    )


def test_one_cut_that_refutes_is_the_last(piece: Signal) -> None:
    liar = Counted(lambda x: x / np.abs(x).max())
    record = audit(liar, piece, other_than(piece), cuts=16)
    assert (record.verdict, record.cuts) == ("not causal", 1)
    assert liar.calls <= 6
    assert len(record.evidence) == 1


def test_a_causal_system_is_tried_at_every_cut(piece: Signal) -> None:
    system, done = Counted(one_pole), []
    record = audit(system, piece, other_than(piece), cuts=16, advance=lambda count, what: done.append(count))
    assert record.cuts == 16
    assert system.calls == calls_for(16) == sum(done)
    tried = {each.cut for each in record.evidence}
    assert len(tried) == 16
    assert len({cut % 512 for cut in tried}) > 8, "cuts lie on a grid"
    for future in ("stop", "other", "silence", "loud"):
        assert len({each.cut for each in record.evidence if each.future == future}) >= 8
    assert all(each.past == ("quiet" if each.future == "loud" else "music") for each in record.evidence)


def test_the_look_ahead_has_a_level(piece: Signal) -> None:
    def faint(x):
        return x + 1e-4 * np.concatenate([x[100:], np.zeros((100, 2))])

    record = audited(faint, piece)
    assert record.levels["-40"] == record.levels["-60"] == 0
    assert record.levels["-100"] == record.levels["-120"] == 100
    assert list(record.levels) == ["-40", "-60", "-80", "-100", "-120", "-140"]


def test_what_lies_below_the_noise_is_not_seen(piece: Signal) -> None:
    rng = np.random.default_rng(3)
    record = audited(lambda x: x + 1e-6 * rng.uniform(-1, 1, x.shape), piece)
    assert record.verdict == "causal"
    assert record.noise_db is not None
    assert -120 < record.noise_db < -80
    assert record.sensitivity_db == pytest.approx(max(-100, record.noise_db + 12.04), abs=0.01)
    assert record.levels["-40"] == 0
    assert record.levels["-140"] is None


def test_a_system_that_remembers_the_last_piece_gets_no_verdict(piece: Signal) -> None:
    class Remembering:
        level = 0.0

        def __call__(self, x):
            y, self.level = x / (1 + self.level), float(np.abs(x).mean())
            return y

    record = audit(Remembering(), piece, 0.1 * other_than(piece))
    assert record.verdict == "none"
    assert (record.look_ahead, record.cuts, record.evidence) == (None, 0, [])
    assert "two calls with the same music differ" in record.reason


def test_no_verdict_says_how_large_the_noise_is(piece: Signal) -> None:
    record = audited(dithered, piece)
    assert record.noise_db is not None
    assert record.noise_db > -72
    assert f"{record.noise_db:.0f} dB" in record.reason


def test_the_single_gain_is_named(piece: Signal) -> None:
    record = audited(lambda x: 0.5 * x / np.abs(x).max(), piece, futures=["loud"])
    heard = np.abs(PASTS["quiet"] * piece).max()
    changed_piece = changed(piece, other_than(piece), "quiet", "loud", record.evidence[0].cut)
    assert record.gain_db == pytest.approx(20 * np.log10(heard / np.abs(changed_piece).max()), abs=1e-6)
    assert f"{record.gain_db:+.2f} dB" in record.reason


def test_more_than_its_length_looked_for_is_at_least(piece: Signal) -> None:
    """A look-ahead that lasts to the end of the piece is only known to be so long at least."""

    def to_the_end(x):
        half = len(piece) // 2
        # From two seconds on, each sample by the mean of all that follow: the first second cannot tell.
        mean = np.cumsum(x[::-1], axis=0)[::-1] / 1000
        return np.concatenate([x[:half], x[half:] + mean[half:]])

    record = audited(to_the_end, piece)
    assert record.verdict == "not causal"
    assert not record.whole_piece
    assert "at least" in record.reason


def test_outputs_may_have_a_tail(piece: Signal) -> None:
    record = audited(lambda x: np.concatenate([x, np.zeros((220, 2))]), piece)
    assert (record.verdict, record.look_ahead, record.delay) == ("causal", 0, 0)


def test_a_silent_output_is_causal_and_has_no_delay(piece: Signal) -> None:
    record = audited(np.zeros_like, piece, cuts=2)
    assert (record.verdict, record.look_ahead, record.delay) == ("causal", 0, None)


def test_a_gate_that_silences_the_quiet_past_is_seen_through(piece: Signal) -> None:
    """It opens for the whole piece if anything is loud."""
    record = audited(lambda x: x if np.abs(x).max() > 0.5 else 0 * x, piece, cuts=2)
    assert (record.verdict, record.whole_piece) == ("not causal", True)


@pytest.mark.parametrize(
    ("process", "said"),
    [
        (lambda x: x[:-10], "returned 176390 samples for 176400"),
        (lambda x: x * np.nan, "not finite"),
    ],
)
def test_a_wrong_output_is_a_failure_that_says_for_which_piece(process, said: str, piece: Signal) -> None:
    with pytest.raises(SystemFailure, match=f"{said}.*quiet past"):
        audit(process, piece, other_than(piece))


def test_a_system_that_fails_on_a_changed_piece_fails(piece: Signal) -> None:
    def choosy(x):
        if len(x) != len(piece):
            raise SystemFailure("wants whole pieces")
        return x

    with pytest.raises(SystemFailure, match=r"wants whole pieces \(in the audit: music past, stop from \d+ on\)"):
        audit(choosy, piece, other_than(piece))


def test_no_piece_is_too_short_for_the_loudness_meter() -> None:
    shortest = []

    def noting(x):
        shortest.append(len(x))
        return x

    short = music(0.6)
    audit(noting, short, other_than(short), cuts=16)
    assert min(shortest) > 0.4 * 44100


@pytest.mark.parametrize("how", [{"cuts": 0}, {"futures": []}])
def test_nothing_to_try_is_refused(piece: Signal, how) -> None:
    with pytest.raises(ValueError, match="at least one"):
        audit(one_pole, piece, other_than(piece), **how)


def test_too_little_music_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least 0\.4\d s"):
        audit(one_pole, music(0.42), music(0.42))


def test_seeds_choose_the_cuts(piece: Signal) -> None:
    cuts = [[each.cut for each in audited(in_blocks, piece, cuts=3, seed=seed).evidence] for seed in (0, 0, 1)]
    assert cuts[0] == cuts[1] != cuts[2]


def test_what_was_missed_is_a_probability() -> None:
    assert missed(16)[0.2] == pytest.approx(0.028, abs=5e-4)
    assert missed(1) == pytest.approx({0.01: 0.99, 0.05: 0.95, 0.1: 0.9, 0.2: 0.8, 0.5: 0.5})


def test_rare_look_ahead_is_missed_as_often_as_said() -> None:
    """A segment in five looks ahead: how often one cut and four cuts find nothing, against (1 - p)^n."""
    short, span = music(0.8), 1000

    def rare(x, seed):
        y, rng = x.copy(), np.random.default_rng(seed)
        for start in range(0, len(x) - 2 * span, span):
            if rng.random() < 0.2:
                y[start : start + span] *= 1 + 0.1 * np.tanh(x[start + span : start + 2 * span].mean())
        return y

    found = {1: 0, 4: 0}
    for trial in range(60):
        process = partial(rare, seed=trial)
        for cuts in found:
            record = audit(process, short, other_than(short), cuts=cuts, seed=trial, futures=["other"])
            found[cuts] += record.verdict == "not causal"
    # Each cut meets two segments' look-ahead: the one that it lies in, and the one before.
    for cuts, count in found.items():
        expected = 60 * (1 - 0.8 ** (1.5 * cuts))
        assert abs(count - expected) < 14, (cuts, count, expected)
    assert found[1] < found[4]
