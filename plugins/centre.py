"""Separation without learned weights: two-stage harmonic-percussive masks and a table of frequency bands.

The mixture is split twice by median filtering of its magnitude spectrogram (Fitzgerald 2010): with a long window,
in which steady tones stand out, then with a short one, in which only strokes stand out as vertical lines. What is
steady in neither sense remains between the two: above the bass, mostly the voice, whose pitch moves too much for the
long window and which holds too long for the short one (Tachibana et al. 2014; Driedger and Müller 2015).

    mixture ── long window ──► tonal part      low: bass    middle: other, some vocals   high: drums and vocals
                 └─ rest ── short window ──► middle part     low: drums   middle: vocals   high: drums and vocals
                              └─ rest ─────► percussive part             drums

Masks are soft, real, equal for both ears and sum to one, so the four stems sum to the mixture, and a remix with all
gains at 0 dB is the mixture itself. Last, every stem is blended with a quarter of the mixture: a masked stem carries
artefacts, which cost more HAAQI than the same energy of the other stems does.

The name is that of the first idea, the centre of the stereo image. It was measured and left out, see
`benchmarks/centre.py`: at the ears of a listener in front of loudspeakers, the centre says little about who sings.

References:
    D. Fitzgerald, "Harmonic/percussive separation using median filtering", DAFx 2010.
    H. Tachibana, N. Ono, S. Sagayama, "Singing voice enhancement in monaural music signals based on two-stage
        harmonic/percussive sound separation on multiple resolution spectrograms", IEEE/ACM TASLP 22(1), 2014.
    J. Driedger, M. Müller, "Extracting singing voice from music recordings by cascading audio decomposition
        techniques", ICASSP 2015.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.systems import Option, Separator, Signal, System, hookimpl

Array = NDArray[Any]

LONG_WINDOW = 8192
"""Samples, 186 ms: between the 4096 of Fitzgerald (2010) and the 256 to 512 ms of Tachibana et al. (2014)."""

SHORT_WINDOW = 1024
"""Samples, 23 ms: the short window of two-stage separation (about 30 ms in Tachibana et al. 2014)."""

OVERLAP = 4
"""Windows that cover each sample, as in Fitzgerald (2010): a hop of a quarter of the window."""

MEDIAN = 17
"""Length of both median filters, in frames and in bins: the value of Fitzgerald (2010)."""

BASS_HZ = 350.0
"""Where the bass holds half of the tonal part; its share falls by 12 dB per octave above."""

VOICE_HZ = 250.0
"""What moves below is a drum, above a voice: the lower end of the sung notes that are not masked by kick and bass."""

CYMBALS_HZ = 6000.0
"""Above, no partial of tones is strong, and noise of cymbals and of consonants passes both filters alike."""

TONAL_VOICE = 0.2
"""Share of the vocals in the tonal part between `VOICE_HZ` and `CYMBALS_HZ`: held notes."""

HIGH_DRUMS = 0.65
"""Share of the drums in the tonal part above `CYMBALS_HZ`; in the middle part it is one half."""

BLOCK = 1 << 20
"""Samples that are processed at once (24 s): bounds the memory whatever the length of the music."""

CONTEXT = 1 << 16
"""Samples read on either side of a block: more than what windows and median filters reach (36864 + 2816 + 4096).

`BLOCK` and `CONTEXT` are multiples of every hop, so a block's frames are those of the whole music.
"""


class Centre(Separator):
    """Two-stage harmonic-percussive separation, a band table, and a blend with the mixture."""

    name = "centre"
    version = "1"
    summary = "no learned weights: two-stage harmonic-percussive masks and frequency bands"
    # The median over time and the long window look ahead by 0.6 s.
    causal = False
    training_data = "none"
    licence = "none"
    options: ClassVar[tuple[Option, ...]] = (
        Option(
            "blend",
            float,
            0.3,
            "how much of each stem is a plain quarter of the mixture: more is cleaner, less separates further",
            minimum=0.0,
            maximum=1.0,
        ),
    )

    def separate(self, mixture: Signal, sample_rate: int) -> Mapping[str, Signal]:
        """Separate a mixture, (samples, 2), into stems of its shape that sum to it."""
        frames = mixture.shape[0]
        stems = {stem: np.empty(mixture.shape) for stem in ("vocals", "drums", "bass")}
        for start in range(0, frames, BLOCK):
            stop = min(start + BLOCK, frames)
            first, last = max(0, start - CONTEXT), min(frames, stop + CONTEXT)
            separated = _separate_block(mixture[first:last], sample_rate)
            for stem, signal in separated.items():
                stems[stem][start:stop] = signal[start - first : stop - first]
        blend = self.settings["blend"]
        for signal in stems.values():
            signal *= 1.0 - blend
            signal += (blend / 4.0) * mixture
        stems["other"] = mixture - stems["vocals"] - stems["drums"] - stems["bass"]
        return stems


def _separate_block(mixture: Signal, sample_rate: int) -> dict[str, Signal]:
    """Separate one block, (samples, 2), before the blend; "other" is what the three stems leave."""
    rest = _percussive(mixture, LONG_WINDOW)
    percussive = _percussive(rest, SHORT_WINDOW)
    parts = [_spectrogram(part, SHARE_WINDOW) for part in (mixture - rest, rest - percussive, percussive)]
    shares = _shares(np.fft.rfftfreq(SHARE_WINDOW, 1.0 / sample_rate))
    return {
        stem: _signal(
            sum(part * share[:, np.newaxis] for part, share in zip(parts, rows, strict=True)),
            SHARE_WINDOW,
            mixture.shape[0],
        )
        for stem, rows in shares.items()
    }
