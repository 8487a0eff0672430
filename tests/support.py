"""What the tests share besides fixtures: a tiny evaluation set in the official layout, and the command line."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile
from typer.testing import CliRunner

from harness.challenge import CAD1, PROTOCOL
from harness.cli import app
from harness.haaqi import conformance

SPLIT = "valid"
FRAMES = round(0.7 * PROTOCOL.sample_rate)
AT_MIC = "Vector One-hlp_0001"
HEADPHONES = "Vector Two"


Change = Callable[[Any], Any]
"""Changes the content of a metadata file in place, or returns what is to stand there instead."""


def put(*path_and_value: Any) -> Change:
    """Replace what stands at a path of keys; `put("V1", "name", 3)` sets content["V1"]["name"] = 3."""

    def change(content: Any) -> None:
        *path, last, value = path_and_value
        for key in path:
            content = content[key]
        content[last] = value

    return change


def drop(*path: Any) -> Change:
    """Remove what stands at a path of keys."""

    def change(content: Any) -> None:
        for key in path[:-1]:
            content = content[key]
        del content[path[-1]]

    return change


@dataclass(frozen=True)
class _Tiny:
    """An evaluation set in a folder, that a test may damage."""

    root: Path

    @property
    def args(self) -> tuple[str, str]:
        return "--data", str(self.root)

    def metadata(self, name: str) -> Path:
        return self.root / "metadata" / f"{name}.{SPLIT}.json"

    def edit(self, name: str, change: Change) -> Path:
        """Change the content of a metadata file."""
        path = self.metadata(name)
        content = json.loads(path.read_text())
        changed = change(content)
        path.write_text(json.dumps(content if changed is None else changed))
        return path


class TinySet(_Tiny):
    """An evaluation set in the official layout that a test may damage: 2 scenes, 2 listeners, 0.7 s of music.

    scene_V001 is at the microphone, scene_V002 in headphone form; V1 has a mild loss, V2 one severe and one normal ear.
    """

    @property
    def names(self) -> list[str]:
        return [f"{scene}_{who}_remix.flac" for scene in ("scene_V001", "scene_V002") for who in ("V1", "V2")]

    def metadata(self, name: str) -> Path:
        return self.root / "metadata" / "gains.json" if name == "gains" else super().metadata(name)

    def music(self, name: str = "mixture", scene: str = "scene_V001") -> Path:
        folder = {"scene_V001": f"at_mic_music/{SPLIT}/{AT_MIC}", "scene_V002": f"musdb18hq/{SPLIT}/{HEADPHONES}"}
        return self.root / "audio" / folder[scene] / f"{name}.wav"


def listeners_as_json() -> dict[str, Any]:
    return {
        name: {
            "name": name,
            "audiogram_cfs": list(who.left.frequencies),
            "audiogram_levels_l": list(who.left.levels),
            "audiogram_levels_r": list(who.right.levels),
        }
        for name, who in conformance.LISTENERS.items()
    }


def write_tiny_set(root: Path) -> None:
    def write(name: str, content: object) -> None:
        (root / "metadata" / name).write_text(json.dumps(content, indent=4))

    (root / "metadata").mkdir(parents=True)
    one, two = conformance.scenes()
    write("gains.json", {f"gain_{scene.id}": dict(scene.gains) for scene in (one, two)})
    write(f"listeners.{SPLIT}.json", listeners_as_json())
    write(
        f"scenes.{SPLIT}.json",
        {
            one.id: {"music": "Vector One", "gain": f"gain_{one.id}", "head_loudspeaker_positions": "hlp_0001"},
            two.id: {"music": HEADPHONES, "gain": f"gain_{two.id}"},
        },
    )
    write(f"scene_listeners.{SPLIT}.json", {scene.id: list(conformance.LISTENERS) for scene in (one, two)})
    write(f"at_mic_music.{SPLIT}.json", {AT_MIC: {"Track Name": AT_MIC, "Split": SPLIT, "Path": f"{SPLIT}/{AT_MIC}"}})
    write(f"musdb18.{SPLIT}.json", [{"Track Name": HEADPHONES, "Split": SPLIT}])
    tiny = TinySet(root)
    for scene in (one, two):
        tiny.music(scene=scene.id).parent.mkdir(parents=True)
        for name, signal in {"mixture": scene.mixture, **scene.stems}.items():
            soundfile.write(tiny.music(name, scene.id), signal[:FRAMES], PROTOCOL.sample_rate, subtype="PCM_16")


SONGS = ("Vector One", "Vektor [red] & Söhne, 2")
"""A name may hold whatever a folder's may: markup, commas, what is not ASCII."""
SONG_FRAMES = round(0.6 * CAD1.sample_rate)


class TinySongs(_Tiny):
    """An evaluation set of the first challenge that a test may damage: 2 songs of 0.6 s for 2 listeners."""

    @property
    def pairs(self) -> list[tuple[str, str]]:
        return [(song, who) for song in SONGS for who in conformance.LISTENERS]

    @property
    def names(self) -> list[str]:
        return [name for pair in self.pairs for name in CAD1.files(*pair)]

    def music(self, name: str = "mixture", song: str = SONGS[0]) -> Path:
        return self.root / "audio" / "musdb18hq" / "train" / song / f"{name}.wav"

    def cut(self, start: float, end: float) -> None:
        """Have only this part of each song scored, in seconds."""
        part = {"start": start, "end": end, "duration": end - start}
        segments = {song: {"objective_evaluation": part, "subjective_evaluation": part} for song in SONGS}
        self.metadata("musdb18.segments").write_text(json.dumps(segments))


def write_tiny_songs(root: Path) -> None:
    def write(name: str, content: object) -> None:
        (root / "metadata" / f"{name}.{SPLIT}.json").write_text(json.dumps(content, indent=4))

    (root / "metadata").mkdir(parents=True)
    write("listeners", listeners_as_json())
    write("musdb18", [{"Track Name": song, "Split": SPLIT, "Genre": "Pop", "Source": "made up"} for song in SONGS])
    one, _ = conformance.scenes()
    swapped = {"vocals": "bass", "drums": "drums", "bass": "other", "other": "vocals"}
    music = one.stems, {name: one.stems[other] for name, other in swapped.items()}
    for song, stems in zip(SONGS, music, strict=True):
        TinySongs(root).music(song=song).parent.mkdir(parents=True)
        for name, signal in {"mixture": one.mixture, **stems}.items():
            path = TinySongs(root).music(name, song)
            soundfile.write(path, signal[:SONG_FRAMES], CAD1.sample_rate, subtype="PCM_16")


@dataclass(frozen=True)
class Outcome:
    """What a command said and how it ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)

    @property
    def error(self) -> str:
        """What is wrong, at the end of what was said, and the only one of its kind.

        One line, or one with continuation lines that are indented by two spaces.
        """
        lines = self.stderr.splitlines()
        starts = [number for number, line in enumerate(lines) if line.startswith("error: ")]
        assert len(starts) == 1, self.stderr
        message = lines[starts[0] :]
        assert all(line.startswith("  ") for line in message[1:]), self.stderr
        assert "Traceback" not in self.stderr + self.stdout
        return "\n".join(message).removeprefix("error: ")


RunCli = Callable[..., Outcome]


def run_app(*args: object) -> Outcome:
    """Run `harness ARGS` in this process. Whatever is no orderly end of the program fails the test."""
    result = CliRunner().invoke(app, [str(arg) for arg in args], catch_exceptions=False)
    return Outcome(result.exit_code, result.stdout, result.stderr)


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command and group below a command, itself first, with the words that call it."""
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from walk(child, (*path, name))
