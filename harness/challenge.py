"""The protocol of the ICASSP 2024 Cadenza Grand Challenge as one frozen object.

Every number comes from the published baseline recipe (pyclarity, package `recipes.cad_icassp_2024.baseline`:
`config.yaml`, `enhance.py`, `evaluate.py`). Whatever is in here can change a score, so the object is hashed
into the evaluator's fingerprint (see `harness.haaqi.lock`).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

STEMS = ("vocals", "drums", "bass", "other")
"""The four stems, in the order in which the challenge names them (VDBO)."""

Gains = Mapping[str, float]
"""Target gain of each stem in dB: {"vocals": 10, "drums": 0, "bass": 0, "other": 0}."""


@dataclass(frozen=True)
class Protocol:
    """What the challenge fixes: rates in Hz, lengths in samples, levels in dB.

    `revision` counts the changes of meaning that the other fields cannot show.
    """

    name: str = "cad_icassp_2024"
    revision: int = 1
    sample_rate: int = 44100
    """Music, separation, remix, loudness and NAL-R."""
    remix_sample_rate: int = 32000
    """Submitted FLAC files."""
    haaqi_sample_rate: int = 24000
    bits: int = 16
    nalr_order: int = 220
    """NAL-R is an FIR filter of `nalr_order` + 1 taps, so an amplified signal is that much longer."""
    haaqi_equalisation: int = 2
    """The reference already carries NAL-R."""
    haaqi_level_db: float = 65.0
    """Level of the reference mixture before NAL-R, in dB SPL."""
    silent_lufs: float = -80.0
    """Loudness that stands for minus infinity."""
    sum_order: tuple[str, ...] = ("drums", "bass", "other", "vocals")
    """Order in which `evaluate.py` loads and adds the stems."""
    seed_modulus: int = 10**8
    causal_lookahead_ms: float = 5.0
    """A causal system's output at time t uses no input later than t + 5 ms."""

    def seed(self, scene_id: str) -> int:
        """Seed of NumPy's global generator for a scene: md5 of its name, modulo 1e8 (`set_song_seed`)."""
        digest = hashlib.md5(scene_id.encode("utf-8"), usedforsecurity=False).hexdigest()
        return int(digest, 16) % self.seed_modulus

    def remix_name(self, scene_id: str, listener_id: str) -> str:
        """File name of one submitted remix."""
        return f"{scene_id}_{listener_id}_remix.flac"

    def remix_frames(self, music_frames: int) -> range:
        """Lengths in samples at 32 kHz that a remix of `music_frames` samples at 44.1 kHz may have.

        From the music's own length up to that plus NAL-R's tail; the resampler rounds to either side.
        HAAQI would cut both signals to the shorter one without a word, so anything else is refused.
        """
        shortest = music_frames * self.remix_sample_rate // self.sample_rate
        longest = -(-(music_frames + self.nalr_order) * self.remix_sample_rate // self.sample_rate)
        return range(max(1, shortest), longest + 1)


PROTOCOL = Protocol()
