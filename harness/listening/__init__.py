"""Sound for people: what a pair's signals are like in the file, and an impression of how its listener hears them."""

from harness.listening.clips import Clip
from harness.listening.simulation import CITATIONS, WHAT_IT_IS
from harness.listening.sounds import Sound, check_remix, sounds_of

__all__ = ["CITATIONS", "WHAT_IT_IS", "Clip", "Sound", "check_remix", "sounds_of"]
