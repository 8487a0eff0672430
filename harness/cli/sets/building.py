"""harness set new"""

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness import console
from harness.cli.common import Json, Workers, add_command, given, workers_or_default
from harness.cli.sets.cutting import excerpts
from harness.cli.sets.songs import Layout, Resample, counted, listed, say_result, show_ignored, show_lost
from harness.errors import UsageError
from harness.files import expanded

if TYPE_CHECKING:
    from harness.sets.building import Built, Plan
    from harness.sets.songs import FoundSongs

MAX_SPLIT = 100
"""Characters of a split's name."""

PER_SONG, PER_SCENE = 4, 2
"""Scenes of a song and listeners of a scene in the challenge's training set."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    add_command(app, new)
    add_command(app, excerpts)


def new(
    root: Annotated[str, typer.Argument(metavar="ROOT", help="Folder of the evaluation set; made if need be.")],
    songs: Annotated[
        str,
        typer.Option("--songs", metavar="DIR|demo", callback=given, help="Folder of songs, or the embedded excerpt."),
    ],
    listeners: Annotated[
        str,
        typer.Option(
            "--listeners",
            metavar="FILE|clarity|bisgaard|N",
            callback=given,
            help="Listeners: in a JSON or CSV file, the challenge's 83 training listeners or N of them drawn, "
            "or the standard audiograms of Bisgaard et al. 2010.",
        ),
    ],
    split: Annotated[str, typer.Option("--split", metavar="NAME", callback=given, help="What to call the split.")],
    layout: Layout = None,
    gains: Annotated[
        str | None,
        typer.Option(
            "--gains",
            metavar="official|none|FILE",
            callback=given,
            show_default="official",
            help="Gains of the scenes: the challenge's 1105 sets, no gain at all, or a file such as gains.json.",
        ),
    ] = None,
    positions: Annotated[
        str | None,
        typer.Option(
            "--positions",
            metavar="kemar|headphones|FILE",
            callback=given,
            show_default="kemar",
            help="Heads between loudspeakers: those of the KEMAR head that is shipped, none, or a file such as "
            "head_loudspeaker_positions.json.",
        ),
    ] = None,
    hrtf: Annotated[
        str | None,
        typer.Option(
            "--hrtf",
            metavar="DIR",
            callback=given,
            show_default="ROOT/audio/hrtf",
            help="Folder with the impulse responses of the heads in --positions FILE.",
        ),
    ] = None,
    per_song: Annotated[
        int | None,
        typer.Option(
            "--per-song",
            metavar="N",
            min=1,
            max=10_000,
            show_default="4, or as many as there are gains and positions",
            help="Scenes of each song.",
        ),
    ] = None,
    per_scene: Annotated[
        int | None,
        typer.Option(
            "--listeners-per-scene", metavar="N", min=1, max=10_000, show_default="2", help="Listeners of each scene."
        ),
    ] = None,
    seed: Annotated[
        str, typer.Option("--seed", metavar="TEXT", callback=given, help="Seed of the draws of listeners.")
    ] = "icassp2024",
    resample: Resample = False,
    protocol: Annotated[
        str,
        typer.Option(
            "--protocol",
            metavar="cad_icassp_2024|cad1",
            callback=given,
            help="The challenge: ICASSP 2024's scenes and gains, or every song for every listener as in the first.",
        ),
    ] = "cad_icassp_2024",
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Build an evaluation set from songs, listeners, gains and positions: metadata and music in the official layout.

    A song is a folder DIR/SONG with vocals, drums, bass, other and, if there is one, mixture as WAV or FLAC.

    Interrupt it whenever you like: the same command continues, and makes only what is missing or changed.
    """
    from harness.sets.building import build

    found, plan = _plan(
        root, songs, listeners, split, layout, gains, positions, hrtf, per_song, per_scene, seed, resample, protocol
    )
    show_ignored(found)
    count = workers_or_default(workers)
    built = build(plan, count, lambda total: console.progress("making", total, "pieces of music", count))
    if as_json:
        console.print_json(_built_as_json(plan, built))
    else:
        _show_built(plan, built)


def _plan(
    root: str,
    songs: str,
    listeners: str,
    split: str,
    layout: str | None,
    gains: str | None,
    positions: str | None,
    hrtf: str | None,
    per_song: int | None,
    per_scene: int | None,
    seed: str,
    resample: bool,
    protocol: str,
) -> "tuple[FoundSongs, Plan]":
    """What the options ask for."""
    from harness.challenge import CAD1, PROTOCOLS
    from harness.files import SAFE_NAME
    from harness.sets.building import Plan
    from harness.sets.listeners import load_listeners
    from harness.sets.named import named_gains, named_positions, named_songs

    if protocol not in PROTOCOLS:
        raise UsageError(f"--protocol {protocol}: there is no such protocol, choose {' or '.join(PROTOCOLS)}")
    if not SAFE_NAME.fullmatch(split) or len(split) > MAX_SPLIT:
        raise UsageError(f"--split {split[:MAX_SPLIT]}: expected letters, digits, _, - and ., such as valid")
    scenes = {"--gains": gains, "--positions": positions, "--hrtf": hrtf, "--per-song": per_song}
    unfit = [name for name, value in {**scenes, "--listeners-per-scene": per_scene}.items() if value is not None]
    if PROTOCOLS[protocol] == CAD1 and unfit:
        raise UsageError(f"{unfit[0]} does not go with --protocol {protocol}: it has every song for every listener")
    folder = expanded(root, "ROOT").absolute()
    found = named_songs(songs, layout, resample, split=split)
    found.ensure_apart(folder, "ROOT")
    sets = named_gains(gains or "official")
    heads, heads_folder = named_positions(positions or "kemar", hrtf, folder)
    most = min([len(sets), *([len(heads)] if heads else [])])
    options: dict[str, Any] = {"listeners": _without_folder(listeners), "resample": resample}
    if PROTOCOLS[protocol] != CAD1:
        options |= {
            "gains": _without_folder(gains or "official"),
            "positions": _without_folder(positions or "kemar"),
        }
        options |= {"per_song": per_song or min(PER_SONG, most), "listeners_per_scene": per_scene or PER_SCENE}
    plan = Plan(
        root=folder,
        split=split,
        protocol=PROTOCOLS[protocol],
        found=found,
        listeners=load_listeners(listeners, seed),
        gains=sets,
        positions=heads,
        heads=heads_folder,
        per_song=per_song or min(PER_SONG, most),
        per_scene=per_scene or PER_SCENE,
        seed=seed,
        options=options,
    )
    return found, plan


def _without_folder(named: str) -> str:
    """What an option was given, as the provenance has it: a file without its folder, which may be anybody's home."""
    return named.rpartition("/")[2]


def _built_as_json(plan: "Plan", built: "Built") -> dict[str, Any]:
    from harness.sets.making import clipped_in, silent_in

    return {
        "root": str(plan.root),
        "split": plan.split,
        "protocol": plan.protocol.name,
        "songs": [song.name for song in plan.found.songs],
        "summed": list(plan.found.summed),
        "ignored": list(plan.found.ignored),
        "scenes": built.scenes,
        "pairs": built.pairs,
        "made": [each.piece.name for each in built.made if not each.kept],
        "kept": [each.piece.name for each in built.made if each.kept],
        "silent": silent_in(built.made),
        "clipped": clipped_in(built.made),
        "written": [str(path) for path in built.written],
        "unused": [str(path) for path in built.unused],
    }


def _show_built(plan: "Plan", built: "Built") -> None:
    from harness.challenge import CAD1
    from harness.sets.making import clipped_in, silent_in

    show_lost(silent_in(built.made), clipped_in(built.made))
    listed("music that is not part of the set any more; remove it if you like", [str(path) for path in built.unused])
    kept = sum(each.kept for each in built.made)
    first = plan.protocol == CAD1
    what = "" if first else f"{counted(built.scenes, 'scene')} of "
    say_result(
        f"{plan.root}, split {plan.split}: {what}{counted(len(plan.found.songs), 'song')}, "
        f"{counted(built.pairs, 'song-listener pair' if first else 'scene-listener pair')}; "
        f"{counted(len(built.made) - kept, 'piece')} of music made, {kept} kept"
    )
    console.say(f"next: harness run --data {shlex.quote(str(plan.root))} --split {plan.split} --system centre")
