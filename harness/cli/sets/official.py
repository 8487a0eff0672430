"""harness set scenes, harness set at-mic: what the official generator does."""

from pathlib import Path
from typing import Annotated

import typer

from harness import console
from harness.cli import common
from harness.cli.common import Json, given
from harness.errors import UsageError
from harness.files import expanded

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


def register(app: typer.Typer) -> None:
    """Add the commands."""
    common.add_command(app, scenes)
