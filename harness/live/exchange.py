"""What stands between a sound card, which asks for samples by its own clock, and a system that takes blocks."""

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.enhancement import Signal
from harness.errors import HarnessError

PATIENCE_SECONDS = 5.0
"""A sound card that has neither taken nor brought a sample for so long is gone."""


class SoundFailure(HarnessError):
    """Sound cannot be played or recorded here."""


class Exchange:
    """Two queues of samples, between the thread of the sound card and the one that has the music processed.

    The sound card calls `callback` whenever it wants samples: that takes no time, and never raises. If it finds fewer
    than it wants, it plays silence for the rest, and counts that as an xrun. When the sound comes from the card as
    well, what is late is then left out, so that the delay does not grow.

    Args:
        cushion: samples that wait to be played while all goes well: a block may be so late before it is missed, and
            the sound is later by as much.
        captures: whether sound comes from the card.
        capacity: samples that each queue can hold.

    Raises:
        ValueError: the cushion is not within 1 and `capacity`.
    """

    def __init__(self, cushion: int, captures: bool, capacity: int) -> None:
        if not 0 < cushion <= capacity:
            raise ValueError(f"a cushion of {cushion} samples: expected 1 to {capacity}")
        self.cushion, self.captures = cushion, captures
        self.xruns = 0
        """How often the card had to wait: for us, or, as it says itself, for its driver."""
        self.failure: BaseException | None = None
        """What went wrong in the callback, if something did."""
        self._changed = threading.Condition()
        self._out, self._in = _Queue(capacity), _Queue(capacity)
        self._owed = 0  # samples that were played as silence, and are not to be played later
        self._ended = False
        if captures:
            self._out.put(np.zeros((cushion, 2)))

    @property
    def added(self) -> int:
        """Samples by which the sound is later for the cushion; what comes from a file is not late for anybody."""
        return self.cushion if self.captures else 0

    def callback(self, indata: Any, outdata: Any, frames: int, time: Any, status: Any) -> None:
        """PortAudio's, as `sounddevice.Stream` calls it; `indata` is None for `sounddevice.OutputStream`.

        Args:
            indata: (frames, 1 or 2), what was recorded.
            outdata: (frames, channels), to be filled.
            frames: how many.
            time: not looked at.
            status: `sounddevice.CallbackFlags`.
        """
        del time
        try:
            with self._changed:
                self._serve(indata, outdata, frames, bool(status))
                self._changed.notify()
        except Exception as error:  # raised into PortAudio, it would be printed and the card stopped
            self.failure = error
            outdata.fill(0)

    def play(self, outdata: Any, frames: int, time: Any, status: Any) -> None:
        """The same for `sounddevice.OutputStream`, which records nothing."""
        self.callback(None, outdata, frames, time, status)

    def _serve(self, indata: Any, outdata: Any, frames: int, trouble: bool) -> None:
        if trouble:
            self.xruns += 1
        if indata is not None:
            self._in.put(np.broadcast_to(indata, (frames, 2)) if indata.shape[1] == 1 else indata[:, :2])
            # Where we are hopelessly slow, the oldest is lost; it will not be owed to the card any more.
            lost = self._in.shrink(self._in.capacity // 2)
            self._owed = max(0, self._owed - lost)
        found = self._out.take(frames)
        outdata.fill(0)
        outdata[: len(found)] = found if outdata.shape[1] > 1 else found.mean(axis=1, keepdims=True)
        missing = frames - len(found)
        if missing and not self._ended:
            self.xruns += 1
            self._owed += missing if self.captures else 0

    def put(self, signal: Signal) -> None:
        """Hand over samples to be played, (n, 2); waits while more than the cushion are there already.

        Raises:
            SoundFailure: the card takes none any more.
        """
        with self._changed:
            late = min(self._owed, len(signal))
            self._owed -= late
            if not self.captures:  # otherwise the card's clock says when there is something to hand over
                self._wait(lambda: len(self._out) <= self.cushion, "takes no sound any more")
            self._out.put(signal[late:])

    def get(self, count: int) -> Signal:
        """Wait for the next samples that the card has recorded: (count, 2), finite and within +-1.

        Raises:
            SoundFailure: it brings none any more.
        """
        with self._changed:
            self._wait(lambda: len(self._in) >= count, "brings no sound")
            # Some drivers hand over memory that nobody has written to.
            return np.clip(np.nan_to_num(self._in.take(count).astype(np.float64)), -1, 1)

    def drain(self) -> None:
        """Wait until everything that was handed over is played.

        Raises:
            SoundFailure: the card takes none any more.
        """
        with self._changed:
            self._ended = True
            self._wait(lambda: not len(self._out), "takes no sound any more")

    @property
    def filled(self) -> bool:
        """Whether the cushion is full: the card may be started."""
        with self._changed:
            return len(self._out) >= self.cushion

    def _wait(self, ready: Any, complaint: str) -> None:
        while not ready() and self.failure is None:
            if not self._changed.wait(PATIENCE_SECONDS):
                raise SoundFailure(f"the sound device {complaint}: is it still connected? --output FILE needs none")
        if self.failure is not None:
            raise SoundFailure(f"the sound device cannot be served: {self.failure}") from self.failure


class _Queue:
    """Stereo samples, first in, first out, in a ring of memory that is allocated once."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._ring = np.zeros((capacity, 2), np.float32)
        self._start = self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, samples: NDArray[Any]) -> None:
        """Add samples, (n, 2); where there is no room the oldest are lost."""
        samples = samples[-self.capacity :]
        self.shrink(self.capacity - len(samples))
        places = (self._start + self._count + np.arange(len(samples))) % self.capacity
        self._ring[places] = samples
        self._count += len(samples)

    def take(self, count: int) -> NDArray[np.float32]:
        """Remove the oldest samples, as many as there are: (count or less, 2)."""
        count = min(count, self._count)
        taken = self._ring[(self._start + np.arange(count)) % self.capacity]
        self._start, self._count = (self._start + count) % self.capacity, self._count - count
        return taken

    def shrink(self, count: int) -> int:
        """Keep at most so many of the newest; how many were lost."""
        lost = max(0, self._count - count)
        self._start, self._count = (self._start + lost) % self.capacity, self._count - lost
        return lost
