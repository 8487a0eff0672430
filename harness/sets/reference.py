"""What a system's remix or stems are compared with, as sound files."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.challenge import CAD1, EARS, PROTOCOL, STEMS
from harness.enhancement import Signal, amplify
from harness.errors import DataError, UsageError
from harness.files import write_whole
from harness.hearing import Listener
from harness.music.evaluationset import Pair

HEADROOM_DB = -1.0
"""Where the peak of what would exceed full scale is put, in dB."""

HAAQI_NALR_ORDER = 140
"""Of the NAL-R filter that HAAQI applies to a reference that has none, at 24 kHz (pyclarity, `eb.ear_model`)."""


@dataclass(frozen=True)
class Reference:
    """What a pair is compared with.

    Attributes:
        signals: by name, each (samples, 2), amplified for the listener; full scale is 1, which they may exceed. One,
            "remix", under the ICASSP 2024 protocol; the four stems under that of the first challenge.
        rate: in Hz.
    """

    signals: Mapping[str, Signal]
    rate: int

    @property
    def gain_db(self) -> float:
        """What is added to the level so that nothing is clipped; 0 where all fits as it is.

        It is the same for all signals, so that their balance stays.
        """
        peak = max(float(np.abs(signal).max(initial=0.0)) for signal in self.signals.values())
        return 0.0 if peak <= 1 else HEADROOM_DB - 20 * float(np.log10(peak))

    @property
    def silent(self) -> list[str]:
        """The channels in which there is nothing, such as "vocals, left"."""
        return [
            f"{name}, {ear}"
            for name, signal in self.signals.items()
            for channel, ear in enumerate(EARS)
            if not signal[:, channel].any()
        ]


def reference_of(pair: Pair) -> Reference:
    """The reference of a pair.

    Under the ICASSP 2024 protocol: the true stems with the scene's gains, at the loudness of the mixture, through
    NAL-R, at 44.1 kHz. Under that of the first challenge: each true stem, cut to the song's segment if it has one, at
    24 kHz and through the NAL-R filter that HAAQI itself applies, cut to the stem's length as HAAQI cuts it.

    Raises:
        DataError: the music is missing, damaged, or shorter than its segment.
    """
    from harness.haaqi.evaluator import reference_mixture
    from harness.haaqi.stems import reference_stems

    scene, listener = pair.scene, pair.listener
    stems = scene.read_stems()
    if scene.protocol != CAD1:
        mixed = reference_mixture(stems, scene.read("mixture"), scene.gains)
        return Reference({"remix": amplify(mixed, listener)}, PROTOCOL.sample_rate)
    if scene.segment is not None and scene.segment[1] > scene.frames:
        raise DataError(f"{scene.id}: its segment ends after its music: correct musdb18.segments")
    mono = reference_stems({name: stem[scene.scored] for name, stem in stems.items()})
    signals = {
        name: np.stack([_as_haaqi_amplifies(mono[f"{ear}_{name}"], listener, ear) for ear in EARS], axis=1)
        for name in STEMS
    }
    return Reference(signals, CAD1.haaqi_sample_rate)


def _as_haaqi_amplifies(channel: Signal, listener: Listener, ear: str) -> Signal:
    from clarity.enhancer.nalr import NALR

    nalr = NALR(nfir=HAAQI_NALR_ORDER, sample_rate=CAD1.haaqi_sample_rate)
    fir, _ = nalr.build(getattr(listener, ear).for_pyclarity())
    amplified = np.convolve(channel.astype(float), np.asarray(fir))
    return amplified[HAAQI_NALR_ORDER : HAAQI_NALR_ORDER + len(channel)]


def write_reference(reference: Reference, output: Path) -> list[Path]:
    """Write a reference as WAV files of 24 bit, `Reference.gain_db` applied.

    Args:
        reference: what to write.
        output: the file; a folder where there are several signals, which are then named after them.

    Raises:
        UsageError: a folder where a file is expected, or a file where a folder is.
        StorageError: it cannot be written.
    """
    import soundfile

    several = len(reference.signals) > 1
    if several and (output.is_file() or output.suffix.lower() == ".wav"):
        raise UsageError(f"--output {output}: {len(reference.signals)} stems are written, name a folder for them")
    if not several and (output.is_dir() or output.suffix.lower() != ".wav"):
        raise UsageError(f"--output {output}: name a file that ends in .wav")
    written = []
    for name, signal in reference.signals.items():
        buffer = io.BytesIO()
        scaled = signal * 10 ** (reference.gain_db / 20)
        soundfile.write(buffer, scaled, reference.rate, format="WAV", subtype="PCM_24")
        path = output / f"{name}.wav" if several else output
        write_whole(path, buffer.getvalue())
        written.append(path)
    return written
