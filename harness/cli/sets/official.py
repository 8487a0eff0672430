"""harness set scenes, harness set at-mic: what the official generator does."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness import console
from harness.cli import common
from harness.cli.common import Json, Workers, given, workers_or_default
from harness.cli.sets.songs import show_lost
from harness.errors import UsageError
from harness.files import expanded

if TYPE_CHECKING:
    from harness.sets.at_mic import AtMic

Root = Annotated[
    str, typer.Argument(metavar="ROOT", help="Folder of the evaluation set: metadata/ and audio/ are in it.")
]
SplitName = Annotated[
    str, typer.Option("--split", metavar="NAME", callback=given, help="Split whose metadata is read and written.")
]
Output = Annotated[
    str | None,
    typer.Option("--output", metavar="ROOT2", callback=given, show_default="ROOT", help="Write to this folder."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace metadata files that say something else.")]
Resample = Annotated[
    bool, typer.Option("--resample", help="Resample songs that are not 44.1 kHz, rather than refuse them.")
]
PerSong = Annotated[int, typer.Option("--per-song", metavar="N", min=1, max=10_000, help="Scenes of each song.")]
PerScene = Annotated[int, typer.Option("--listeners", metavar="N", min=1, max=10_000, help="Listeners of each scene.")]


def existing_root(root: str) -> Path:
    """ROOT as a full path.

    Raises:
        UsageError: no such folder.
    """
    path = expanded(root, "ROOT").absolute()
    if not path.is_dir():
        raise UsageError(f"ROOT {root}: no such folder; it should hold metadata/ and audio/")
    return path


def scenes(
    root: Root,
    split: SplitName = "train",
    per_song: PerSong = 4,
    listeners: PerScene = 2,
    output: Output = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Draw scenes and their listeners as the official generator does: the same seeds, draws and order.

    Reads musdb18.SPLIT.json, listeners.SPLIT.json, gains.json and head_loudspeaker_positions.json in ROOT/metadata, and
    writes scenes.SPLIT.json and scene_listeners.SPLIT.json. Where gains or positions are missing, the challenge's own
    lists are written too. For its 100 training songs and 83 listeners, these are its 400 training scenes.
    """
    from harness.sets.scenes import make_scenes

    drawn = make_scenes(
        existing_root(root),
        split,
        per_song,
        listeners,
        None if output is None else expanded(output, "--output").absolute(),
        overwrite,
    )
    for path in drawn.official:
        console.say(f"{path.name} was not there: wrote the challenge's own list to {path}")
    if as_json:
        console.print_json(
            {
                "scenes": len(drawn.scenes),
                "pairs": sum(map(len, drawn.scene_listeners.values())),
                "written": [str(path) for path in (*drawn.official, *(p for p, new in drawn.files.items() if new))],
                "unchanged": [str(path) for path, new in drawn.files.items() if not new],
            }
        )
        return
    for path, new in drawn.files.items():
        console.out.print(f"{'wrote' if new else 'unchanged:'} {path}", markup=False, soft_wrap=True)
    console.say(
        f"{len(drawn.scenes)} scenes of {len(drawn.scenes) // per_song} songs, "
        f"{sum(map(len, drawn.scene_listeners.values()))} scene-listener pairs"
    )


def at_mic(
    root: Root,
    split: SplitName = "train",
    output: Output = None,
    workers: Workers = None,
    overwrite: Overwrite = False,
    resample: Resample = False,
    as_json: Json = False,
) -> None:
    """Bring the songs to the microphones of the scenes' heads as the official generator does, to the sample.

    Reads scenes.SPLIT.json, musdb18.SPLIT.json and head_loudspeaker_positions.json in ROOT/metadata, the songs in
    ROOT/audio/music and the heads in ROOT/audio/hrtf; writes audio/at_mic_music and at_mic_music.SPLIT.json.

    What is there already is kept if it was made from the same music and heads; interrupt it whenever you like, and the
    same command continues. A worker takes 0.8 GB of memory for songs of four minutes.
    """
    from harness.sets.at_mic import make_at_mic

    count = workers_or_default(workers)
    result = make_at_mic(
        existing_root(root),
        split,
        None if output is None else expanded(output, "--output").absolute(),
        count,
        overwrite,
        resample,
        lambda total: console.progress("At the microphones", total, "pieces", count),
    )
    if as_json:
        console.print_json(_as_json(result))
    else:
        _show(result)
    if result.problems:
        raise typer.Exit(1)


def _counts(result: "AtMic") -> dict[str, int]:
    failed = sum(each.problem is not None for each in result.made)
    kept = sum(each.kept for each in result.made)
    return {"made": len(result.made) - kept - failed, "kept": kept, "failed": failed}


def _as_json(result: "AtMic") -> dict[str, Any]:
    return {
        **_counts(result),
        "file": str(result.file),
        "silent": result.silent,
        "clipped": result.clipped,
        "problems": {name: problem for problem, names in result.problems.items() for name in names},
    }


def _show(result: "AtMic") -> None:
    from harness.sets.songs import in_short

    counts = _counts(result)
    console.out.print(f"{counts['made']} pieces made, {counts['kept']} were there, {counts['failed']} failed")
    console.out.print(f"listed in {result.file}", markup=False, soft_wrap=True)
    if result.in_headphones:
        console.say(f"{result.in_headphones} scenes are for headphones and need none")
    show_lost(result.silent, result.clipped)
    if result.problems:
        head = f"{counts['failed']} of {len(result.made)} pieces could not be made, and are not listed:"
        problems = [
            f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {problem}"
            for problem, names in result.problems.items()
        ]
        console.complain(in_short(head, problems))


def register(app: typer.Typer) -> None:
    """Add the commands."""
    common.add_command(app, scenes)
    common.add_command(app, at_mic, "at-mic")
