"""The errors of this package that are no bugs."""


class LeaderboardError(Exception):
    """A problem with the leaderboard that the user can act on.

    `str(error)` is one line that says what is wrong and what to do next.
    """


class Unreachable(LeaderboardError):
    """There is no connection to the database. What was not committed is undone.

    Attributes:
        doubtful: whether it was just committing, so that nobody knows whether what was done is stored.
        passing: whether the server is there, and says that it will soon have time.
    """

    def __init__(self, said: str, doubtful: bool = False, passing: bool = False) -> None:
        super().__init__(said)
        self.doubtful = doubtful
        self.passing = passing
