"""harness set excerpts"""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness import console
from harness.cli.common import Json, given
from harness.cli.sets.songs import Layout, Resample, counted, listed, say_result, show_ignored
from harness.errors import UsageError
from harness.files import expanded

if TYPE_CHECKING:
    from harness.sets.excerpts import Excerpts
    from harness.sets.songs import FoundSongs


def excerpts(
    songs: Annotated[str, typer.Argument(metavar="SONGS|ROOT|demo", help="Folder of songs, or the embedded excerpt.")],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Folder for the excerpts; new, or one to complete.")],
    layout: Layout = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", min=0.4, max=1800, show_default="10", help="Length of an excerpt.")
    ] = None,
    resample: Resample = False,
    segments: Annotated[
        Path | None,
        typer.Option(
            "--segments",
            metavar="FILE",
            help="Cut the segments in this file, such as musdb18.segments.test.json, out of ROOT/audio/musdb18hq.",
        ),
    ] = None,
    which: Annotated[
        str | None,
        typer.Option("--which", metavar="objective|subjective", callback=given, help="Which segment of each song."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Cut songs into excerpts, which are songs again: for harness set new --songs OUTPUT.

    Without --segments, each song is cut into consecutive excerpts, and those in which a stem is silent are left out.
    """
    from harness.music.songs import SEGMENTS
    from harness.sets.excerpts import SECONDS, make_consecutive, make_segments
    from harness.sets.named import named_songs
    from harness.sets.songs import find_songs

    folder = expanded(str(output), "OUTPUT").absolute()
    if segments is None:
        if which is not None:
            raise UsageError("--which goes with --segments")
        found = named_songs(songs, layout, resample, "SONGS")
    else:
        if seconds is not None or layout is not None:
            raise UsageError("--segments goes without --seconds and --layout")
        if which not in (None, *SEGMENTS):
            raise UsageError(f"--which {which}: choose {' or '.join(SEGMENTS)}")
        found = find_songs(expanded(songs, "ROOT").absolute() / "audio" / "musdb18hq", "musdb18hq", resample)
    found.ensure_apart(folder, "OUTPUT")
    count = len(found.songs)
    with console.progress("cutting", count, "songs") as advance:
        if segments is None:
            result = make_consecutive(found, folder, SECONDS if seconds is None else seconds, advance)
        else:
            result = make_segments(found, folder, segments, which or "objective", advance)
    if as_json:
        console.print_json(
            {
                "folder": str(folder),
                "made": [excerpt.record for excerpt in result.made],
                "dropped": [excerpt.record for excerpt in result.dropped],
                "songs_without": list(result.unused),
                "ignored": list(found.ignored),
            }
        )
    else:
        _show_excerpts(result, found, folder)
    if not result.made:
        raise UsageError("no excerpt was made: choose shorter ones (--seconds), or songs with fewer silent stems")


def _show_excerpts(result: "Excerpts", found: "FoundSongs", folder: Path) -> None:
    show_ignored(found)
    listed("left out, since stems are silent", [f"{each.name}: {', '.join(each.silent)}" for each in result.dropped])
    listed("kept, though stems are silent", [f"{e.name}: {', '.join(e.silent)}" for e in result.made if e.silent])
    listed("songs without any excerpt", list(result.unused))
    seconds = sum(excerpt.seconds for excerpt in result.made)
    songs = len({excerpt.song for excerpt in result.made})
    say_result(
        f"{counted(len(result.made), 'excerpt')} of {counted(songs, 'song')}, {seconds / 60:.1f} minutes, in {folder}; "
        f"{len(result.dropped)} left out"
    )
    if result.made:
        console.say(f"next: harness set new ROOT --songs {shlex.quote(str(folder))} --listeners clarity --split NAME")
