"""The challenge's gains: every way to change up to three stems, as gains.json lists them.

The challenge's pages give the rule and three of the sets; that the list has this length and order is certain, since the
official draws from it give the published scenes. The place of each set among those that are not published is inferred.
"""

from itertools import combinations, product

from harness.challenge import STEMS

STEPS = (-10, -6, -3, 3, 6, 10)
"""Gains in dB that a stem can be given, besides 0."""
MOST_CHANGED = 3
"""Stems that are changed at a time, at most."""


def official_gains() -> dict[str, dict[str, int]]:
    """The content of gains.json: 1105 sets by id, "gain_0001" to "gain_1105", each with the gain in dB of every stem.

    First no gain at all, then one, two and three stems changed: 1 + 4 x 6 + 6 x 36 + 4 x 216.
    """
    sets = [
        dict.fromkeys(STEMS, 0) | dict(zip(changed, steps, strict=True))
        for count in range(MOST_CHANGED + 1)
        for changed in combinations(STEMS, count)
        for steps in product(STEPS, repeat=count)
    ]
    return {f"gain_{number:04d}": gains for number, gains in enumerate(sets, 1)}
