"""Damaged FLAC files, manifests and metadata: judged or refused, in bounded time and memory, by no other exception."""

import json
import random
import resource
import shutil
import signal
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from . import injected
from .common import Tally, Task, evaluation_set

BATCH = 100
LONGEST = 10.0
"""Seconds that one may take."""
GROWTH = 500 * 2**20
"""Bytes by which the memory of the process may grow in all."""


class TookTooLong(BaseException):
    """Raised by the alarm; no handler of errors takes it for its own."""


def _late(*_: object) -> None:
    raise TookTooLong


def _resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def batch(kind: str, seed: int, folder: Path) -> Tally:
    """`BATCH` mutations of one kind of file; the seed of each is the batch's and its number."""
    import mutations
    from support import TinySet

    from harness.cli.verdicts import verdict_as_json
    from harness.errors import HarnessError
    from harness.music.layout import load
    from harness.submission.validation import judge

    tiny = TinySet(shutil.copytree(evaluation_set(), folder / "tiny"))
    made = shutil.copytree(injected.prepared("enhance") / "made", folder / "made")
    whole = load(tiny.root)
    one = whole.select(["scene_V001"])
    metadata = ["gains", "scenes", "scene_listeners", "listeners", "at_mic_music", "musdb18"]

    def use() -> None:
        if kind == "metadata":
            loaded = load(tiny.root)
            loaded.check_music(["vocals"])
            assert len(loaded.mixtures_sha256) == 64
        else:
            json.dumps(verdict_as_json(judge(made, one)), allow_nan=False)

    mutated: Callable[[random.Random, Any], bytes] = getattr(mutations, f"mutated_{kind}")
    signal.signal(signal.SIGALRM, _late)
    use()
    tally, before = Tally(), _resident()
    for number in range(BATCH):
        draw = random.Random(f"{seed} {number}")
        if kind == "metadata":
            path = tiny.metadata(draw.choice(metadata))
        else:
            path = made / (draw.choice(tiny.names[:2]) if kind == "flac" else "submission.json")
        good = path.read_bytes()
        path.write_bytes(mutated(draw, good if kind == "flac" else json.loads(good)))
        problems, began = [], time.monotonic()
        signal.alarm(round(3 * LONGEST))
        try:
            use()
        except HarnessError as error:
            if "\n" in str(error):
                problems.append(f"more than one line: {error}")
        except (Exception, TookTooLong):
            problems.append(traceback.format_exc(limit=-3))
        finally:
            signal.alarm(0)
        if time.monotonic() - began > LONGEST:
            problems.append(f"took {time.monotonic() - began:.1f} s")
        if _resident() - before > GROWTH:
            problems.append(f"memory grew by {(_resident() - before) / 2**20:.0f} MiB")
        tally.add(f"damaged {kind}", [f"number {number}: {each}" for each in problems])
        path.write_bytes(good)
    return tally


def tasks(trials: int, draw: random.Random) -> list[Task]:
    """5 N mutations, half of them of FLAC files."""
    injected.prepared("enhance")
    kinds = ["flac", "flac", "manifest", "metadata"]
    batches = max(len(kinds), -(-5 * trials // BATCH))
    drawn = [(kinds[number % len(kinds)], draw.randrange(10**9)) for number in range(batches)]
    return [Task(partial(batch, kind, seed), f"{kind}, batch seed {seed}") for kind, seed in drawn]
