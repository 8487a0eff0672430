"""Who works on tasks: what the rest of the harness knows of it. `local` and `cluster` are the two that there are."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


IDLE_SECONDS = 0.1


def nothing() -> None:
    """What is done while results are waited for, where there is nothing to do."""


@dataclass(frozen=True)
class Lost:
    """Stands for the result of a task that ended the processes that worked on it, one after the other.

    Attributes:
        reason: one line that goes on after the name of what was worked on.
    """

    reason: str


class Executor(Protocol):
    """Workers, wherever they are. They only compute, or write what nobody else writes; this process does the rest."""

    @property
    def workers(self) -> int:
        """How many tasks may be worked on at a time, as far as that is known: at least 1."""

    @property
    def far(self) -> bool:
        """Whether workers are on other machines: handing out a task then costs some milliseconds."""

    def map_unordered(
        self, function: Callable[[Task], Result], tasks: Sequence[Task], idle: Callable[[], None] = nothing
    ) -> Iterator[tuple[Task, Result | Lost]]:
        """Apply a function to every task and yield (task, result) as results come.

        Args:
            function: of a module that is installed, so that other processes can import it by its name. What it raises
                ends the whole.
            tasks: may be pickled. Given in an order in which neighbours share work. A far worker may start anywhere:
                paths in them are absolute.
            idle: called while results of other processes are waited for, about every `IDLE_SECONDS`.

        Raises:
            HarnessError: there are no workers to be had, or they are not fit for the work.
        """
