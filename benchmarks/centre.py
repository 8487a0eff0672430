"""What the bundled system `centre` separates and what it scores, on the excerpt that `stempeg` ships.

    python benchmarks/centre.py            SDR of each stem, about 10 s
    python benchmarks/centre.py --haaqi    and mean HAAQI, about 5 minutes on one core

Six seconds of real music in headphone form (no head, no loudspeakers), compared with "trivial" (each stem a quarter
of the mixture, so that no gain has an effect) and "oracle" (the true stems). SDR is 10 log10 of the energy of the
true stem over that of the error, without any scaling. HAAQI is the mean of both ears, over the gain sets and
listeners below, through the harness's own remix, NAL-R and 16-bit format, all seeded alike.

Measured with NumPy 2.4, SciPy 1.17, pyclarity 0.9.0:

                       vocals    drums     bass    other     mean   SDR, dB
    trivial              0.53     1.41     1.63     1.06     1.16
    centre, blend 0      2.77     6.10     3.58     1.93     3.59
    centre               2.41     5.03     3.45     1.97     3.22

                       1 N2   1 N4   2 N2   2 N4   3 N2   3 N4   mean   HAAQI: gain set, listener
    trivial           0.628  0.334  0.712  0.349  0.489  0.307  0.470
    centre, blend 0   0.635  0.320  0.728  0.369  0.547  0.314  0.486
    centre            0.643  0.326  0.728  0.365  0.542  0.318  0.487
    oracle            0.924  0.409  0.976  0.472  0.917  0.423  0.687

What was tried on the way, on this excerpt and on versions of it at the microphones of a head before two loudspeakers.
Mean HAAQI of 3 pairs of each kind, two listeners of mild and moderate loss:

    each stem mixture / 4                                                  0.558
    percussive mask, then the centre (mid against side) for vocals,
        a low band for bass, nothing blended                               0.524
    best fixed share per band and stem, from the true stems                0.555
    two-stage masks, 16384 and 1024, shares fitted on another version      0.565
    two-stage masks, 8192 and 1024, table and blend: `centre`, nearly      0.575
    ratio masks from the true stems, 4096: the limit of such masks         0.659
    the true stems                                                         0.827

The rest was chosen by a quick stand-in for HAAQI (correlation of cepstra of the fast envelopes, of the fine structure,
and spectral difference), which ordered all of the above as HAAQI does, but for the nearly equal first and third:
long window 4096 0.599, 8192 0.605, 16384 0.599; blend 0 0.600, 0.15 0.604, 0.3 0.605, 0.45 0.602; a centre measure,
as mid against side or by principal axes per frequency, -0.003 to +0.0006; Wiener filtering of the result, with or
without spatial covariances, -0.015 to 0; short window 512 to 2048 and the constants of the table 0.002 at the most.
SDR would have chosen otherwise: 16384 and no blend. All of it is one excerpt of one song, and the gain over "trivial"
is small, and negative for one pair of six in the table, and for one of six in the list.
"""

import argparse
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.challenge import PROTOCOL, STEMS
from harness.enhancement import amplify, remix, to_remix_format
from harness.hearing import Audiogram, Listener
from harness.systems import Signal
from harness_plugins.centre import Centre

GAINS = [
    {"vocals": 6, "drums": 0, "bass": -6, "other": 0},
    {"vocals": -10, "drums": 0, "bass": 0, "other": 0},
    {"vocals": 3, "drums": 10, "bass": -6, "other": 0},
]
"""dB: two, one and three altered stems, as the challenge's gain sets have."""

FREQUENCIES = (250, 375, 500, 750, 1000, 1500, 2000, 3000, 4000, 6000)
LISTENERS = [
    Listener(name, Audiogram(FREQUENCIES, levels), Audiogram(FREQUENCIES, levels))
    for name, levels in {
        "N2": (20, 20, 20, 22.5, 25, 30, 35, 40, 45, 50),
        "N4": (55, 55, 55, 55, 55, 60, 65, 70, 75, 80),
    }.items()
]
"""Standard audiograms of Bisgaard, Vlaming and Dahlquist (2010), mild and moderate to severe; dB HL, both ears."""


def excerpt() -> dict[str, Signal]:
    """The mixture and its stems, each (samples, 2) at 44.1 kHz, without the clicks at both ends."""
    import av

    spec = importlib.util.find_spec("stempeg")
    if spec is None or spec.origin is None:
        raise SystemExit("the package stempeg is missing: pip install stempeg")
    (path,) = (Path(spec.origin).parent / "data").glob("*.stem.mp4")
    signals = {}
    for index, name in enumerate(("mixture", "drums", "bass", "other", "vocals")):
        with av.open(str(path)) as container:
            stream = container.streams.audio[index]
            blocks = [frame.to_ndarray() for frame in container.decode(stream)]
        signals[name] = np.concatenate(blocks, axis=1).T.astype(np.float64)
    length, edge = min(len(signal) for signal in signals.values()), round(0.14 * 44100)
    return {name: signal[edge : length - edge] for name, signal in signals.items()}


def sdr(true: Signal, estimate: Signal) -> float:
    """Signal-to-distortion ratio in dB, without scaling."""
    return float(10 * np.log10(np.sum(true**2) / np.sum((true - estimate) ** 2)))


def haaqi(
    true: Mapping[str, Signal],
    stems: Mapping[str, Signal],
    mixture: Signal,
    gains: Mapping[str, float],
    listener: Listener,
) -> float:
    """HAAQI of the remix of `stems` against that of the true ones, mean of both ears."""
    import soxr
    from clarity.evaluator.haaqi import compute_haaqi
    from clarity.utils.audiogram import Audiogram as ClarityAudiogram

    rate = PROTOCOL.haaqi_sample_rate
    before = remix(true, gains, mixture)
    reference = amplify(before, listener)
    samples, _ = to_remix_format(amplify(remix(stems, gains, mixture), listener))
    processed = samples / 32768.0
    np.random.seed(PROTOCOL.seed("benchmark"))  # the metric draws from it
    scores: list[Any] = []
    for ear, audiogram in enumerate((listener.left, listener.right)):
        level = PROTOCOL.haaqi_level_db - 20 * np.log10(np.sqrt(np.mean(before[:, ear] ** 2)))
        scores.append(
            compute_haaqi(
                soxr.resample(processed[:, ear], PROTOCOL.remix_sample_rate, rate),
                soxr.resample(reference[:, ear], PROTOCOL.sample_rate, rate),
                rate,
                rate,
                ClarityAudiogram(levels=np.array(audiogram.levels), frequencies=np.array(audiogram.frequencies)),
                equalisation=PROTOCOL.haaqi_equalisation,
                level1=level,
            )
        )
    return float(np.mean(scores))


def main() -> None:
    parser = argparse.ArgumentParser(description="SDR and HAAQI of the bundled system `centre`")
    parser.add_argument("--haaqi", action="store_true", help="score remixes too (minutes)")
    wanted = parser.parse_args()
    music = excerpt()
    mixture = music.pop("mixture")
    systems: dict[str, Mapping[str, Signal]] = {
        "trivial": dict.fromkeys(STEMS, mixture / 4),
        "centre, blend 0": Centre(blend=0.0).separate(mixture.copy(), 44100),
        "centre": Centre().separate(mixture.copy(), 44100),
        "oracle": {stem: music[stem] for stem in STEMS},
    }
    print(f"{'':16}" + "".join(f"{stem:>9}" for stem in (*STEMS, "mean")) + "   SDR, dB")
    for name, stems in systems.items():
        if name == "oracle":
            continue
        values = [sdr(music[stem], stems[stem]) for stem in STEMS]
        print(f"{name:16}" + "".join(f"{value:9.2f}" for value in [*values, float(np.mean(values))]))
    if not wanted.haaqi:
        return
    columns = [f"{index + 1} {listener.id}" for index in range(len(GAINS)) for listener in LISTENERS]
    print(f"\n{'':16}" + "".join(f"{column:>7}" for column in (*columns, "mean")) + "   HAAQI: gain set, listener")
    for name, stems in systems.items():
        scores = [haaqi(music, stems, mixture, gains, listener) for gains in GAINS for listener in LISTENERS]
        print(f"{name:16}" + "".join(f"{score:7.3f}" for score in [*scores, float(np.mean(scores))]), flush=True)


if __name__ == "__main__":
    main()
