"""How a listener with a hearing loss may hear a signal: the MSBG simulation of pyclarity, by its parts.

MSBG (Moore, Stone, Baer, Glasberg; Cambridge) passes a signal through the outer and middle ear, smears its spectrum,
expands the envelopes in a gammatone filterbank (loudness recruitment, and with it raised thresholds), and passes it
back through the inverse of the ear's filter, so that somebody with normal hearing can listen to it. The sources are in
`CITATIONS`.

pyclarity's `Ear.process` calls these parts in that order, but is made for speech at known levels. What is different
here, and why:

- One ear at a time. `process` takes several channels, but forces the level of all of them together onto the first.
- No scaling. `process` first scales a signal from the level of its loud parts to that of all of it: by some tenths of
  a decibel for dense music, by several for drums, and recruitment makes more of that.
- 0 dB of full scale is what the evaluator's calibration says (`levels.full_scale_spl`), without the 20 dB of headroom
  (`ahr`) that `Ear` adds on its own for the speech of a challenge.
- The delay is taken away. It is longer with smearing than without, so two ears of different degree would come apart.
- Audiograms are limited to 0 to 80 dB HL (`LEVELS`). MSBG's own authors intend it for no more than 80 to 90; from
  105 dB HL on it divides by zero, or amplifies. Below 0 it amplifies as well.
- Silence stays silence. `process` divides by its level, and returns NaN.
- Smearing works on all frames at once (`smearing`), which nearly halves the time.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.challenge import PROTOCOL
from harness.enhancement import Signal
from harness.hearing import Audiogram, Listener
from harness.listening.smearing import Smearer

LEVELS = (0.0, 80.0)
"""Lowest and highest hearing threshold that is simulated, in dB HL; what lies outside is taken as these."""

WHAT_IT_IS = (
    "“As heard” is a simulation (MSBG) of this listener's hearing loss for people with normal hearing: raised "
    "thresholds, loudness recruitment and reduced frequency selectivity, from the audiogram alone. It gives an "
    "impression of what is audible and how dull it is. It does not show how good the sound is to the listener: the "
    "simulation distorts audibly itself, thresholds above 80 dB HL count as 80, and nothing else that differs between "
    "listeners is in it. Scores are computed from the files, never from it."
)
"""What the simulation is and is not, for whoever listens to it."""

CITATIONS = (
    "T. Baer, B. C. J. Moore, “Effects of spectral smearing on the intelligibility of sentences in noise”, "
    "J. Acoust. Soc. Am. 94, 1229–1241 (1993)",
    "T. Baer, B. C. J. Moore, “Effects of spectral smearing on the intelligibility of sentences in the presence of "
    "interfering speech”, J. Acoust. Soc. Am. 95, 2277–2280 (1994)",
    "B. C. J. Moore, B. R. Glasberg, “Simulation of the effects of loudness recruitment and threshold elevation on the "
    "intelligibility of speech in quiet and in a background of speech”, J. Acoust. Soc. Am. 94, 2050–2062 (1993)",
    "M. A. Stone, B. C. J. Moore, “Tolerable hearing aid delays. I. Estimation of limits imposed by the auditory path "
    "alone using simulated hearing losses”, Ear Hear. 20, 182–192 (1999)",
    "pyclarity 0.9.0, module clarity.evaluator.msbg, by the Clarity and Cadenza projects (a port of the unpublished "
    "MATLAB original)",
    "T. Irino, S. Doan, M. Ishikawa, “Signal processing algorithm effective for sound quality of hearing loss "
    "simulators”, arXiv:2406.05286 (2024): a listening test of how audibly such simulations distort",
)
"""Where its parts were published, and what is known of its limits."""

_UPPER_CUTOFF_TAPS = 133
_UPPER_CUTOFF_HZ = 18_000
"""MSBG's last filter, as `Ear.process` designs it: linear phase, 1.5 ms to either side."""


def limited(audiogram: Audiogram) -> Audiogram:
    """The audiogram that is simulated: the same with its levels limited to `LEVELS`."""
    return Audiogram(audiogram.frequencies, tuple(min(max(level, LEVELS[0]), LEVELS[1]) for level in audiogram.levels))


def degree(audiogram: Audiogram) -> str:
    """How strongly the spectrum is smeared: "severe", "moderate", "mild" or "nothing".

    MSBG decides by the mean level from 2 to 8 kHz: above 56, 35 and 15 dB HL. The auditory filters are broadened to
    4, 2.4 and 1.6 times on their lower side (2, 1.6 and 1.1 on the upper); at "nothing" they are left as they are.
    """
    return str(limited(audiogram).for_pyclarity().severity).lower()


def heard(signal: Signal, listener: Listener, full_scale: float) -> NDArray[np.float64]:
    """Simulate how a listener hears a signal, each ear by itself.

    Args:
        signal: (samples, 2) at 44.1 kHz, finite, at least 0.1 s.
        listener: the audiograms of both ears.
        full_scale: level in dB SPL of a signal whose root mean square is 1 (`levels.full_scale_spl`).

    Returns:
        (samples, 2) on the same scale as `signal` and aligned with it: broadband within 0.2 ms. The filterbank
        itself advances low frequencies: by up to 0.4 ms at 1 kHz, 1.8 ms at 400 Hz and 5.4 ms at 125 Hz where nothing
        is smeared, and by about half or a third of that with broader filters.
    """
    ears = zip(signal.T, (listener.left, listener.right), strict=True)
    return np.stack([heard_by_ear(channel, audiogram, full_scale) for channel, audiogram in ears], axis=1)


def heard_by_ear(channel: Signal, audiogram: Audiogram, full_scale: float) -> NDArray[np.float64]:
    """Simulate how one ear hears one channel: (samples,) -> (samples,); the arguments are as for `heard`.

    An ear of 0 dB HL is not quite transparent: some 1 to 2 dB are lost to the overlap of the filters.
    """
    from clarity.evaluator.msbg.msbg import Ear
    from scipy.signal import firwin, lfilter

    rate = PROTOCOL.sample_rate
    delay = delay_of(audiogram)
    # The end of what is heard comes so much later.
    sound = np.concatenate([channel, np.zeros(delay)])
    with _root_logger_left_alone():
        from_source = Ear.get_src_correction("ff")  # a free field, pyclarity's default
        sound = Ear.src_to_cochlea_filt(sound, from_source, rate)
        sound = _cochlea(limited(audiogram)).simulate(sound, full_scale)
        sound = Ear.src_to_cochlea_filt(sound, from_source, rate, backward=True)
    low_pass = firwin(_UPPER_CUTOFF_TAPS, _UPPER_CUTOFF_HZ / (rate / 2), window=("kaiser", 8))
    sound = lfilter(low_pass, 1, sound)
    return np.asarray(sound[delay : delay + len(channel)])


def delay_of(audiogram: Audiogram) -> int:
    """Samples at 44.1 kHz by which MSBG's filters delay a signal: 1080, and 192 more where the spectrum is smeared.

    The ear's filter and its inverse have 1015 taps each; smearing works on frames of 256 samples, one every 64.
    """
    from clarity.evaluator.msbg.smearing import FRAME_SIZE, SHIFT

    ear_taps = 2 * int(PROTOCOL.sample_rate / 16e3 * 368 / 2) + 1
    filters = 2 * (ear_taps - 1) // 2 + (_UPPER_CUTOFF_TAPS - 1) // 2
    return filters + (FRAME_SIZE - SHIFT if degree(audiogram) != "nothing" else 0)


@contextmanager
def _root_logger_left_alone() -> Iterator[None]:
    """Keep pyclarity's `logging.info` from giving the root logger a handler, which would repeat our own messages."""
    handler = logging.NullHandler()
    logging.root.addHandler(handler)
    try:
        yield
    finally:
        logging.root.removeHandler(handler)


@lru_cache(maxsize=8)
def _cochlea(audiogram: Audiogram) -> Any:
    """pyclarity's `Cochlea`: building one takes as long as simulating a second. Holds no state of signals."""
    from clarity.evaluator.msbg.cochlea import Cochlea

    cochlea = Cochlea(audiogram=audiogram.for_pyclarity(), fs=float(PROTOCOL.sample_rate))
    if cochlea.smearer is not None:
        cochlea.smearer = Smearer(cochlea.smearer.f_smear)
    return cochlea
