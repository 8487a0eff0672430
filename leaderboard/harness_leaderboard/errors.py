"""The one error of this package that is not a bug."""


class LeaderboardError(Exception):
    """A problem with the leaderboard that the user can act on.

    `str(error)` is one line that says what is wrong and what to do next.
    """
