"""Tasks of scoring without music behind them."""

from pathlib import Path

from harness.challenge import STEMS
from harness.haaqi.conformance import LISTENERS
from harness.hearing import Listener
from harness.music.evaluationset import Pair, Scene
from harness.scoring.tasks import ScoreTask


def tasks_of(scenes, listeners, submissions, engine="fast", check=(), by="locked"):
    """A task for each scene, listener and submission; of pairs in `check` the left ear is checked."""
    people = [Listener(f"L{index:04}", LISTENERS["V1"].left, LISTENERS["V1"].right) for index in range(listeners)]
    return [
        ScoreTask(pair, folder, "0" * 64, (), engine, (("left", by),) if pair.id in check else ())
        for index in range(scenes)
        for scene in [
            Scene(f"scene_{index:05}", "song", "track", dict.fromkeys(STEMS, 0), tuple(people), Path("music"))
        ]
        for pair in (Pair(scene, who) for who in people)
        for folder in map(Path, map(str, range(submissions)))
    ]
