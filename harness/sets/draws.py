"""Drawing at random as the official programs draw: seeded by a text, from NumPy's legacy generator."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from harness.challenge import PROTOCOL

Item = TypeVar("Item")


def seeded(text: str) -> np.random.RandomState:
    """A generator seeded by a text: md5 of its UTF-8, modulo 1e8 (`set_song_seed` of the recipe).

    It gives what the recipe gets from NumPy's global generator, and leaves that one alone.
    """
    return np.random.RandomState(PROTOCOL.seed(text))


def choose(state: np.random.RandomState, items: Sequence[Item], n: int) -> list[Item]:
    """Choose n different ones of a list (`choose_samples` of the recipe's `generate_train_scenes.py`).

    A list that is no longer than n is returned as it is, in its order, and nothing is drawn. Otherwise the order of the
    whole list is drawn, however few are wanted: so the first of n + 1 are the n.

    Args:
        state: what draws, see `seeded`.
        items: to choose from.
        n: how many, 0 or more.

    Returns:
        min(n, len(items)) of the items, in the order in which they were drawn.
    """
    if len(items) <= n:
        return list(items)
    return [items[index] for index in state.choice(len(items), n, replace=False)]
