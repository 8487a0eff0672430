"""Score the right ear of a conformance vector in single precision: a program, for vectors of another width.

    python tests/haaqi/one_ear.py

Prints the width and the score.
"""

import json

import numpy as np
from clarity.evaluator.haaqi.haaqi import HAAQI_AUDIOGRAM_FREQUENCIES

from harness.challenge import PROTOCOL
from harness.haaqi import evaluator
from harness.haaqi.conformance import scenes
from harness.haaqi.fast.memory import Workspace
from harness.haaqi.fast.noise import Noise
from harness.haaqi.fast.single import engine
from harness.haaqi.fast.single.vectors import LANES


def scored():
    """What comes of a vector's right ear, as if it were scored first."""
    (scene, _), channel = scenes(), 1
    listener = scene.listeners[0]
    reference = evaluator.reference_mixture(scene.stems, scene.mixture, scene.gains)[:, channel]
    processed = (scene.processed(listener)[:, channel] / 32768).astype(np.float32)
    signals = evaluator.ear_signals("right", reference, processed, listener.right)
    length = min(len(signals.reference), len(signals.processed))
    before, after = signals.reference[:length], signals.processed[:length]
    levels = np.asarray(listener.right.for_pyclarity().resample(HAAQI_AUDIOGRAM_FREQUENCIES).levels)
    noise = Noise(np.random.RandomState(PROTOCOL.seed(scene.id)), 3 * 32 * length)
    bulk = engine.prepare(before)
    found = engine.analyse_reference(before, bulk, levels, 2, signals.level1, Workspace())
    return engine.score(found, after, noise, 0, Workspace())


if __name__ == "__main__":
    result = scored()
    print(json.dumps({"lanes": LANES, "score": result.score, "margin": result.margin, "draws": result.draws}))
