"""Heads between two loudspeakers: a small model, and a measured one's files.

The model: spherical head after Brown & Duda, "A structural model for binaural sound synthesis", IEEE Trans. Speech and
Audio Processing 6(5), 1998: Woodworth's delay (their eq. 3) and a one-pole, one-zero head shadow (eq. 4 and 5), with
ears at +-100 degrees. No pinna, no torso, no room.

The measured head: KEMAR, Gardner & Martin, "HRTF measurements of a KEMAR dummy-head microphone", MIT Media Lab
Perceptual Computing Technical Report 280, 1994; see `kemar/README.md` for what may be done with it.
"""

from pathlib import Path

import numpy as np

from harness.challenge import PROTOCOL
from harness.enhancement import Signal

HEAD_RADIUS = 0.0875
"""Metres (Brown & Duda 1998)."""
SPEED_OF_SOUND = 343.0
"""Metres per second, at 20 degrees Celsius."""
EAR_ANGLE = 100.0
"""Degrees from straight ahead to either ear (Blauert's measurements, as used by Brown & Duda 1998)."""
MIN_ALPHA, MIN_ANGLE = 0.1, 150.0
"""Depth of the head shadow and the angle, in degrees, at which it is deepest (Brown & Duda 1998)."""
TAPS = 128
"""Length of the impulse responses: 2.9 ms at 44.1 kHz. The shadow filter has decayed by then."""

KEMAR_FOLDER = Path(__file__).parent / "kemar"
"""Impulse responses of a KEMAR dummy head: `ear-KEMAR-n30.0.wav` from 30 degrees to the left, `...-p30.0.wav` to the
right; (512, 2) float32 each, left ear and right ear, 44.1 kHz."""
KEMAR_ATTRIBUTION = (
    "Head: Bill Gardner and Keith Martin, “HRTF measurements of a KEMAR dummy-head microphone”, MIT Media Lab "
    "Perceptual Computing Technical Report 280, 1994. Data: copyright 1994 by the MIT Media Laboratory."
)
"""The citation under which they may be used."""
KEMAR_SUBJECT, KEMAR_MIC = "KEMAR", "ear"
KEMAR_ANGLES = (20.0, 25.0, 30.0, 35.0, 40.0)
"""Degrees to either side at which a loudspeaker was measured, of those that are shipped."""


def impulse_responses(angle: float) -> Signal:
    """Impulse responses from a loudspeaker to both ears.

    Args:
        angle: where the loudspeaker stands, degrees from straight ahead, positive to the right.

    Returns:
        (`TAPS`, 2): left ear, right ear, at 44.1 kHz; both are delayed so that they are causal.
    """
    return np.stack([_ear(angle + EAR_ANGLE), _ear(angle - EAR_ANGLE)], axis=1)


def _ear(incidence: float) -> Signal:
    """Impulse response of one ear for sound at `incidence` degrees from that ear's axis."""
    theta = abs((incidence + 180) % 360 - 180)
    corner = SPEED_OF_SOUND / HEAD_RADIUS
    radians = np.radians(theta)
    # Eq. 3: the path around the sphere, relative to its centre.
    delay = -np.cos(radians) / corner if theta < 90 else (radians - np.pi / 2) / corner
    # Eq. 5: alpha runs from 2 (towards the ear, +6 dB at high frequencies) to MIN_ALPHA (in the shadow).
    alpha = 1 + MIN_ALPHA / 2 + (1 - MIN_ALPHA / 2) * np.cos(radians * 180 / MIN_ANGLE)
    # Sampled on a grid twice as long as the response, so that the wrapped-around end can be cut.
    omega = 2 * np.pi * np.fft.rfftfreq(2 * TAPS, 1 / PROTOCOL.sample_rate)
    # A millisecond more than the largest lead over the head's centre keeps the band-limited pulse causal.
    causal_delay = delay + 1e-3
    shadow = (1 + 1j * alpha * omega / (2 * corner)) / (1 + 1j * omega / (2 * corner))  # eq. 4
    return np.fft.irfft(shadow * np.exp(-1j * omega * causal_delay))[:TAPS]
