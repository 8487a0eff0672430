"""The chain for live music: fixed gains, loudness from the past alone, NAL-R.

It stands in for the baseline's (`harness.enhancement`), which is of no use while the music plays: it measures the
loudness of whole stems and of the whole remix before it scales the first sample. Here

- a gain in dB is a factor;
- the remix takes the loudness that the mixture has had so far: g(t)^2 = (E_mixture(<= t) + e) / (E_remix(<= t) + e),
  where E(<= t) is the K-weighted energy of both channels up to and with sample t (ITU-R BS.1770-4, without its gates,
  which need blocks of 0.4 s), and e keeps the first milliseconds from deciding anything;
- NAL-R is the same FIR filter, with its 110 samples of delay.

Everything is computed sample by sample, so that the size of the blocks does not show in the output.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from harness.challenge import PROTOCOL, STEMS, Gains
from harness.enhancement import Signal, amplify_ear
from harness.hearing import Listener

Chain = Literal["baseline", "live"]
"""What follows separation: "baseline", which needs the whole piece, or "live"."""

CHAINS: tuple[Chain, ...] = get_args(Chain)

FLOOR_DB = -40.0
"""Of the energy e: its level in dB, full scale being 0; what is softer has no say in the loudness at the start."""

FLOOR_SECONDS = 0.1
"""Of the energy e: for how many seconds a signal at `FLOOR_DB` has to last to have it. Both are our own choice."""

FLOOR = 10 ** (FLOOR_DB / 10) * FLOOR_SECONDS * PROTOCOL.sample_rate
"""e, as a sum of squares over samples."""

MAX_GAIN_DB = 20.0
"""The loudness match amplifies by so much at most. The challenge's gains, -10 to 10 dB, never ask for more; a system
that returns next to nothing for a while does, and whatever comes after that would burst out."""

NALR_DELAY = PROTOCOL.nalr_order // 2
"""Samples by which NAL-R delays the signal: half the order of its linear-phase filter, 2.5 ms."""


class LiveChain:
    """Remix and amplification while the music plays; keeps its state from block to block.

    Args:
        gains: target gain of each stem in dB.
        listener: whose audiograms NAL-R is for; None for no amplification, as for normal hearing.
        delay: samples by which the stems lag the mixture; 0 or more.

    Raises:
        ValueError: the delay is negative.
    """

    def __init__(self, gains: Gains, listener: Listener | None, delay: int = 0) -> None:
        self._factors = {name: 10 ** (gains[name] / 20) for name in STEMS}
        self._delayed = _Delay(delay)
        self._mixture, self._remix = _Energy(), _Energy()
        self._ears = (
            None
            if listener is None
            else [_Fir(amplify_ear(np.ones(1), ear)) for ear in (listener.left, listener.right)]
        )

    def process(self, stems: Mapping[str, Signal], mixture: Signal) -> Signal:
        """The next block.

        Args:
            stems: the four VDBO stems, each (n, 2), finite; n is 1 or more, and may differ from call to call.
            mixture: what came in meanwhile, (n, 2), full scale +-1.

        Returns:
            (n, 2), float64, not limited to +-1. With a listener it lags the stems by `NALR_DELAY` samples.
        """
        total = np.zeros(mixture.shape)
        for name in PROTOCOL.sum_order:
            total += self._factors[name] * stems[name]
        wanted = self._mixture.up_to(self._delayed.by(mixture))
        found = self._remix.up_to(total)
        match = np.sqrt((wanted + FLOOR) / (found + FLOOR))
        total *= np.minimum(match, 10 ** (MAX_GAIN_DB / 20))[:, np.newaxis]
        if self._ears is None:
            return total
        return np.stack([ear.filtered(total[:, number]) for number, ear in enumerate(self._ears)], axis=1)


def remix_live(stems: Mapping[str, Signal], gains: Gains, mixture: Signal, delay: int = 0) -> Signal:
    """Remix a whole piece as `LiveChain` does, without amplification: the counterpart of `harness.enhancement.remix`.

    `harness.enhancement.amplify` of it is what a listener hears, with NAL-R's tail.

    Args:
        stems: the four VDBO stems, each (samples, 2).
        gains: dB for each stem.
        mixture: the mixture whose loudness the remix takes, (samples, 2).
        delay: samples by which the stems lag the mixture.

    Returns:
        The remix, (samples, 2), float64. Not limited to +-1.

    Raises:
        ValueError: the delay is negative.
    """
    return LiveChain(gains, None, delay).process(stems, mixture)


class _Delay:
    """Delays a stereo signal by a number of samples."""

    def __init__(self, samples: int) -> None:
        if samples < 0:
            raise ValueError(f"a delay of {samples} samples: expected 0 or more")
        self._waiting = np.zeros((samples, 2))

    def by(self, block: Signal) -> Signal:
        together = np.concatenate([self._waiting, block])
        self._waiting = together[len(block) :]
        return together[: len(block)]


class _Energy:
    """K-weighted energy of a stereo signal from its start on."""

    def __init__(self) -> None:
        self._state = np.zeros((len(_k_weighting()), 2, 2))
        self._sum = 0.0

    def up_to(self, block: Signal) -> NDArray[np.float64]:
        """For each sample of the next block, (n, 2), the energy of all up to it, itself included: (n,)."""
        from scipy.signal import sosfilt

        weighted, self._state = sosfilt(_k_weighting(), block, axis=0, zi=self._state)
        with np.errstate(over="ignore"):  # a system may return anything; its remix is looked at later
            # Added one after another, whatever the block's size.
            sums = np.cumsum(np.concatenate([[self._sum], np.square(weighted).sum(axis=1)]))
        self._sum = float(sums[-1])
        return sums[1:]


class _Fir:
    """An FIR filter of one channel, given by its impulse response."""

    def __init__(self, taps: Signal) -> None:
        self._taps = taps
        self._past: Signal = np.zeros(len(taps) - 1)

    def filtered(self, block: Signal) -> Signal:
        together = np.concatenate([self._past, block])
        self._past = together[len(block) :]
        return np.convolve(together, self._taps, mode="valid")


@lru_cache(maxsize=1)
def _k_weighting() -> NDArray[np.float64]:
    """K-weighting as second-order sections: the filters of pyloudnorm's meter, which the baseline's loudness is from.

    ITU-R BS.1770-4, annex 1: a shelf of 4 dB above 1.5 kHz for the head, then a high-pass filter at 38 Hz.
    """
    from pyloudnorm import IIRfilter

    rate = PROTOCOL.sample_rate
    stages: Sequence[Any] = (
        IIRfilter(4.0, 1 / np.sqrt(2), 1500.0, rate, "high_shelf"),
        IIRfilter(0.0, 0.5, 38.0, rate, "high_pass"),
    )
    return np.array([[*stage.b, *stage.a] for stage in stages])
