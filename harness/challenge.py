"""The protocols of the Cadenza challenges, each as one frozen object.

Every number comes from a published baseline recipe (pyclarity): of the ICASSP 2024 Grand Challenge, the package
`recipes.cad_icassp_2024.baseline` (`config.yaml`, `enhance.py`, `evaluate.py`); of the first challenge's task 1,
`recipes/cad1/task1/baseline` at the tag v0.3.4, which is its official program. Whatever is in here can change a score,
so a protocol is hashed into the fingerprint of its evaluator (see `harness.haaqi.lock`).
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

STEMS = ("vocals", "drums", "bass", "other")
"""The four stems, in the order in which the challenge names them (VDBO)."""

EARS = ("left", "right")
"""The two ears, and the channels of every stereo signal, in this order."""

Gains = Mapping[str, float]
"""Target gain of each stem in dB: {"vocals": 10, "drums": 0, "bass": 0, "other": 0}."""


@dataclass(frozen=True, kw_only=True)
class Protocol(ABC):
    """What a challenge fixes: rates in Hz, lengths in samples, levels in dB.

    `revision` counts the changes of meaning that the other fields cannot show.
    """

    name: str
    revision: int = 1
    sample_rate: int = 44100
    """Music, separation, remix, loudness and NAL-R."""
    remix_sample_rate: int = 32000
    """Submitted remixes."""
    haaqi_sample_rate: int = 24000
    bits: int = 16
    nalr_order: int = 220
    """NAL-R is an FIR filter of `nalr_order` + 1 taps, so an amplified signal is that much longer."""
    haaqi_equalisation: int
    """2: the reference already carries NAL-R. 1: HAAQI applies NAL-R to it."""
    haaqi_level_db: float = 65.0
    """Level of the reference before NAL-R, in dB SPL."""
    seed_modulus: int = 10**8

    @property
    @abstractmethod
    def title(self) -> str:
        """The challenge in words."""

    @property
    @abstractmethod
    def signals(self) -> tuple[str, ...]:
        """What is scored for a pair, by name, in the order in which HAAQI draws its noise."""

    @abstractmethod
    def remix_name(self, scene_id: str, listener_id: str) -> str:
        """The file of one submitted remix, as a path in the submission."""

    @abstractmethod
    def files(self, scene_id: str, listener_id: str) -> tuple[str, ...]:
        """The files that are submitted for a pair, as paths in the submission with "/" between folders."""

    def seed(self, text: str) -> int:
        """Seed of NumPy's global generator for a scene or song: md5 of its name, modulo 1e8 (`set_song_seed`)."""
        digest = hashlib.md5(text.encode("utf-8"), usedforsecurity=False).hexdigest()
        return int(digest, 16) % self.seed_modulus

    def remix_frames(self, music_frames: int) -> range:
        """Lengths in samples at 32 kHz that a remix of `music_frames` samples at 44.1 kHz may have.

        From the music's own length up to that plus NAL-R's tail; the resampler rounds to either side.
        HAAQI would cut both signals to the shorter one without a word, so anything else is refused.
        """
        return self._frames(music_frames, self.remix_sample_rate)

    def _frames(self, music_frames: int, rate: int) -> range:
        shortest = music_frames * rate // self.sample_rate
        longest = -(-(music_frames + self.nalr_order) * rate // self.sample_rate)
        return range(max(1, shortest), longest + 1)


@dataclass(frozen=True, kw_only=True)
class Icassp2024(Protocol):
    """The ICASSP 2024 Grand Challenge: a remix with target gains, scored as the listener hears it."""

    name: str = "cad_icassp_2024"
    haaqi_equalisation: int = 2
    silent_lufs: float = -80.0
    """Loudness that stands for minus infinity."""
    sum_order: tuple[str, ...] = ("drums", "bass", "other", "vocals")
    """Order in which `evaluate.py` loads and adds the stems."""
    causal_lookahead_ms: float = 5.0
    """A causal system's output at time t uses no input later than t + 5 ms."""

    @property
    def title(self) -> str:
        """The challenge in words."""
        return "ICASSP 2024 Cadenza Grand Challenge"

    @property
    def signals(self) -> tuple[str, ...]:
        """Both ears."""
        return EARS

    def files(self, scene_id: str, listener_id: str) -> tuple[str, ...]:
        """The remix."""
        return (self.remix_name(scene_id, listener_id),)

    def remix_name(self, scene_id: str, listener_id: str) -> str:
        """File name of one submitted remix."""
        return f"{scene_id}_{listener_id}_remix.flac"


@dataclass(frozen=True, kw_only=True)
class Cad1(Protocol):
    """The first Cadenza challenge, task 1: eight mono stems, each scored against the true stem.

    It has no scenes and no gains: a song stands where the other challenge has a scene.
    """

    name: str = "cad1"
    haaqi_equalisation: int = 1
    stem_sample_rate: int = 24000
    """Submitted stems."""
    score_order: tuple[str, ...] = ("drums", "bass", "other", "vocals")
    """Order in which `evaluate.py` scores the stems, the left ear's before the right ear's, on one random stream."""

    @property
    def title(self) -> str:
        """The challenge in words."""
        return "first Cadenza challenge, task 1"

    @property
    def signals(self) -> tuple[str, ...]:
        """The eight stems: "left_drums", "right_drums", "left_bass", ..."""
        return tuple(f"{ear}_{stem}" for stem in self.score_order for ear in EARS)

    def files(self, scene_id: str, listener_id: str) -> tuple[str, ...]:
        """Eight stems, the scale factor of each, and the remix."""
        return (
            *(self.stem_name(scene_id, listener_id, signal) for signal in self.signals),
            *(self.scale_name(scene_id, listener_id, signal) for signal in self.signals),
            self.remix_name(scene_id, listener_id),
        )

    def stem_name(self, song: str, listener_id: str, signal: str) -> str:
        """Path of one submitted stem; `signal` is one of `signals`."""
        return f"{listener_id}/{song}/{listener_id}_{song}_{signal}.flac"

    def scale_name(self, song: str, listener_id: str, signal: str) -> str:
        """Path of the text file with the factor by which a stem was divided."""
        return f"{listener_id}/{song}/{listener_id}_{song}_{signal}.txt"

    def remix_name(self, song: str, listener_id: str) -> str:
        """Path of the remix, which is for listening and has no score."""
        return f"{listener_id}/{song}/{listener_id}_{song}_remix.flac"

    def stem_frames(self, music_frames: int) -> range:
        """Lengths in samples at 24 kHz that a stem of `music_frames` samples may have; see `remix_frames`."""
        return self._frames(music_frames, self.stem_sample_rate)


PROTOCOL = Icassp2024()
CAD1 = Cad1()
PROTOCOLS: Mapping[str, Protocol] = {protocol.name: protocol for protocol in (PROTOCOL, CAD1)}
"""Both, by name."""
