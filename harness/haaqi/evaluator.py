"""HAAQI under the protocol of the ICASSP 2024 Cadenza challenge.

Follows `recipes/cad_icassp_2024/baseline/evaluate.py` of pyclarity step by step. For each scene-listener pair:
reference mixture = true stems with the target gains, at the loudness of the mixture; per ear, NAL-R on the
reference; both signals at 24 kHz; NumPy's global generator seeded once per pair from the scene's name, then the left
ear, then the right ear: HAAQI adds noise from that generator, so the seed and this order are part of the protocol.

HAAQI: Kates & Arehart, "The Hearing-Aid Audio Quality Index (HAAQI)", IEEE/ACM TASLP 24(2), 2016.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.challenge import PROTOCOL, Gains
from harness.enhancement import Signal, amplify_ear, remix
from harness.errors import EvaluatorError
from harness.hearing import Audiogram, Listener


@dataclass(frozen=True)
class Score:
    """HAAQI of one scene-listener pair: 0 (worst) to 1 (identical to the reference)."""

    left: float
    right: float

    @property
    def mean(self) -> float:
        """Mean of both ears, the pair's score."""
        return float(np.mean([self.left, self.right]))


def reference_mixture(stems: Mapping[str, Signal], mixture: Signal, gains: Gains) -> Signal:
    """The mixture that the listener should have heard: (samples, 2) at 44.1 kHz, before NAL-R.

    It is the same for all listeners of a scene.
    """
    return remix(stems, gains, mixture)


def score_pair(scene_id: str, reference: Signal, processed: NDArray[np.float32], listener: Listener) -> Score:
    """Score one submitted remix.

    Args:
        scene_id: name of the scene; seeds the noise.
        reference: `reference_mixture` of the scene, (samples, 2) at 44.1 kHz.
        processed: the submitted remix as read from its FLAC, (samples, 2) at 32 kHz, float32 (the recipe reads
            and resamples it in single precision), full scale +-1. HAAQI cuts the longer of the two signals.
        listener: the audiograms of both ears.

    Raises:
        EvaluatorError: a silent reference, or HAAQI fails or gives no number from 0 to 1.
    """
    # The generator is global state: leave it as it was found.
    state = np.random.get_state()
    try:
        np.random.seed(PROTOCOL.seed(scene_id))
        left = _score_ear("left", reference[:, 0], processed[:, 0], listener.left)
        right = _score_ear("right", reference[:, 1], processed[:, 1], listener.right)
    finally:
        np.random.set_state(state)
    return Score(left, right)


def _score_ear(ear: str, reference: Signal, processed: NDArray[np.float32], audiogram: Audiogram) -> float:
    import soxr
    from clarity.evaluator.haaqi import compute_haaqi
    from clarity.utils.audiogram import Audiogram as ClarityAudiogram
    from clarity.utils.signal_processing import compute_rms

    rms = compute_rms(reference)
    if not rms > 0:
        raise EvaluatorError(f"the reference of the {ear} ear is silent: HAAQI is not defined for it")
    rate = PROTOCOL.haaqi_sample_rate
    processed_24k = soxr.resample(processed, PROTOCOL.remix_sample_rate, rate, quality="HQ")
    reference_24k = soxr.resample(amplify_ear(reference, audiogram), PROTOCOL.sample_rate, rate, quality="HQ")
    try:
        # A silent processed channel has it take the logarithm of zero, which it handles.
        with np.errstate(divide="ignore", invalid="ignore"):
            score = compute_haaqi(
                processed_signal=processed_24k,
                reference_signal=reference_24k,
                processed_sample_rate=rate,
                reference_sample_rate=rate,
                audiogram=ClarityAudiogram(
                    levels=np.array(audiogram.levels), frequencies=np.array(audiogram.frequencies)
                ),
                equalisation=PROTOCOL.haaqi_equalisation,
                level1=PROTOCOL.haaqi_level_db - 20 * np.log10(rms),
            )
    except Exception as error:
        # It fails in several ways on signals with next to nothing in them (a lone click, say). One such pair
        # must not end a run of thousands.
        raise EvaluatorError(f"HAAQI fails on the {ear} ear ({type(error).__name__}: {error})") from error
    if not 0.0 <= score <= 1.0:
        raise EvaluatorError(f"HAAQI of the {ear} ear is {score}, not a number from 0 to 1")
    return float(score)
