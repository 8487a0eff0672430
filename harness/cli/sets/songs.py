"""What the commands about songs share: their options, and how they show what they found and made."""

from typing import TYPE_CHECKING, Annotated

import typer

from harness import console
from harness.cli.common import given
from harness.errors import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.sets.songs import FoundSongs

Layout = Annotated[
    str | None,
    typer.Option(
        "--layout",
        metavar="folders|musdb18hq",
        callback=given,
        show_default="musdb18hq where there is a folder train or test",
        help="How the songs lie: DIR/SONG/mixture.wav, or DIR/{train,test}/SONG/mixture.wav.",
    ),
]
Resample = Annotated[bool, typer.Option("--resample", help="Resample songs of other rates to 44.1 kHz.")]


def show_ignored(found: "FoundSongs") -> None:
    """Say what in the songs' folder is no song, and which mixtures are sums."""
    listed("not songs, ignored", list(found.ignored))
    listed("without a mixture: the sum of the stems is taken", list(found.summed))


def listed(title: str, entries: list[str]) -> None:
    """Say on standard error what entries there are, if any; many are cut short."""
    from harness.sets.songs import in_short

    if entries:
        console.say(in_short(f"{title} ({len(entries)}):", [*map(printable, entries)]))


def show_lost(silent: "Mapping[str, Sequence[str]]", clipped: "Mapping[str, Mapping[str, int]]") -> None:
    """Say which files of music that was made are zeros, and of which samples were clipped."""
    listed("silent, or too quiet to have a loudness: zeros", [f"{name}: {', '.join(x)}" for name, x in silent.items()])
    listed(
        "clipped, as the official program clips",
        [
            f"{name}: {', '.join(f'{file} {count} samples' for file, count in counts.items())}"
            for name, counts in clipped.items()
        ],
    )


def say_result(text: str) -> None:
    """Print the result in words on standard output."""
    console.out.print(console.escape(text), soft_wrap=True)


def counted(count: int, what: str) -> str:
    """A number of things in words: "1 song", "2 songs"."""
    return f"{count} {what}{'' if count == 1 else 's'}"
