"""What becomes of a submission folder that is there already, is locked, is no folder, or is on a full disk."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from making.made import counts
from support import Outcome, RunCli, TinySet

from harness.submission.manifest import MANIFEST

QUARTERS = "def separate(self, mixture, sample_rate):\n    return dict.fromkeys(STEMS, mixture / 4)"
Write = Callable[..., Path]


@pytest.fixture
def enhance(run_cli: RunCli, tiny_set: TinySet) -> Callable[..., Outcome]:
    return lambda *args: run_cli(
        "enhance", "--system", "passthrough", *tiny_set.args, "--output", "made", "--json", *args
    )


def state(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.glob("*.flac")}


def test_missing_adds_what_lacks_and_mends_what_was_changed(enhance: Callable[..., Outcome], tiny_set: TinySet) -> None:
    made = Path("made")
    assert counts(enhance("--scenes", "scene_V002")) == (0, 2, 0)
    first = state(made)
    assert counts(enhance()) == (0, 2, 2)
    every = state(made)
    assert {name: every[name] for name in first} == first
    assert counts(enhance()) == (0, 0, 4)

    gone, changed = (made / name for name in tiny_set.names[:2])
    good = changed.read_bytes()
    gone.unlink()
    changed.write_bytes(good[:-1])
    assert counts(enhance()) == (0, 2, 2)
    assert changed.read_bytes() == good
    assert json.loads((made / MANIFEST).read_text())["files"].keys() == set(tiny_set.names)


def test_always_makes_everything_anew(enhance: Callable[..., Outcome], tiny_set: TinySet) -> None:
    enhance()
    before = state(Path("made"))
    assert counts(enhance("--overwrite", "always")) == (0, 4, 0)
    after = state(Path("made"))
    assert all(after[name] != before[name] for name in before)
    # Also what nobody knows the origin of; of a part, the rest is removed rather than taken for new.
    (Path("made") / MANIFEST).unlink()
    assert counts(enhance("--overwrite", "always", "--scenes", "scene_V001")) == (0, 2, 0)
    assert sorted(state(Path("made"))) == tiny_set.names[:2]


def test_never_leaves_a_submission_alone(enhance: Callable[..., Outcome]) -> None:
    assert counts(enhance("--overwrite", "never")) == (0, 4, 0)
    before = state(Path("made"))
    outcome = enhance("--overwrite", "never", "--soft-clip")
    assert outcome.code == 1
    assert "made holds a submission and --overwrite is never" in outcome.error
    assert state(Path("made")) == before
    assert enhance("--overwrite", "sometimes").code == 2


def test_remixes_of_unknown_origin_are_not_touched(enhance: Callable[..., Outcome], submission: Path) -> None:
    (submission / MANIFEST).unlink()
    before = state(submission)
    outcome = enhance("--output", submission)
    assert outcome.code == 1
    assert "holds files of unknown origin (no submission.json)" in outcome.error
    (submission / MANIFEST).write_text("{")
    broken = enhance("--output", submission)
    assert broken.code == 1
    assert f"{MANIFEST}: the file: Invalid JSON" in broken.error
    assert state(submission) == before


def test_a_folder_made_by_something_else_is_not_mixed(
    run_cli: RunCli, tiny_set: TinySet, plugin: Write, tmp_path: Path
) -> None:
    def enhance(body: str, *args: object) -> Outcome:
        path = plugin(body)
        return run_cli("enhance", "--system", "probe", "--plugin", path, *tiny_set.args, "--output", "made", *args)

    body = f"options = [Option('depth', float, 0.5, 'how deep')]\n{QUARTERS}"
    assert enhance(body, "--option", "depth=0.5").code == 0
    before = state(tmp_path / "made")

    def refused(outcome: Outcome, differs: str) -> None:
        assert outcome.code == 1
        found = re.search(r"was made by another system \(these differ: (.*)\): ", outcome.error)
        assert found is not None
        assert found[1] == differs
        assert state(tmp_path / "made") == before

    refused(enhance(body, "--option", "depth=0.6"), "options (depth)")
    refused(enhance(body, "--soft-clip"), "soft clip")
    refused(enhance(body + "\n# edited"), "code (plugin.py)")
    refused(enhance("version = '2'\n" + body), "version, code (plugin.py)")
    refused(
        run_cli("enhance", "--system", "passthrough", *tiny_set.args, "--output", "made"),
        "system, options (depth), code (harness_plugins/passthrough.py, plugin.py), packages (numpy)",
    )
    assert enhance(body).code == 0  # 0.5 is the default

    tiny_set.edit("gains", lambda content: content["gain_scene_V001"].update(vocals=3))
    other_set = enhance(body)
    assert (other_set.code, "made is for another evaluation set: choose another --output" in other_set.error) == (
        1,
        True,
    )
    assert enhance(body, "--overwrite", "always").code == 0


def test_soft_clip_is_another_sound(enhance: Callable[..., Outcome], tiny_set: TinySet) -> None:
    hard = enhance()
    soft = enhance("--output", "soft", "--soft-clip")
    assert soft.json["clipping"]["clipped_samples"] == 0
    name = hard.json["clipping"]["worst_file"]
    assert hard.json["clipping"]["clipped_samples"] > 0
    loud = {folder: soundfile.read(Path(folder) / name)[0] for folder in ("made", "soft")}
    inside = np.abs(loud["made"]) < 0.999
    assert loud["soft"][inside] == pytest.approx(np.tanh(loud["made"][inside]), abs=2 / 32768)


def test_a_folder_that_another_process_writes_to(enhance: Callable[..., Outcome], tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    hold = (
        "import sys; from pathlib import Path; from harness.files import locked_folder\n"
        "with locked_folder(Path('made')):\n    print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        assert holder.stdin
        assert holder.stdout.readline() == "held\n"
        outcome = enhance()
        assert outcome.code == 1
        assert outcome.error.startswith("another harness is writing to made; wait until it ends, or choose another")
        assert list((tmp_path / "made").iterdir()) == []
        holder.kill()
    assert counts(enhance()) == (0, 4, 0)


@pytest.mark.parametrize("where", ["file", "file/inner"])
def test_an_output_folder_that_cannot_be(where: str, enhance: Callable[..., Outcome], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    outcome = enhance("--output", where)
    assert outcome.code == 1
    assert f"cannot use the folder {where}: " in outcome.error
    assert "choose another --output" in outcome.error
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.usefixtures("must_not_hang")
def test_a_folder_or_a_pipe_in_place_of_a_remix(enhance: Callable[..., Outcome], tiny_set: TinySet) -> None:
    enhance()
    path = Path("made") / tiny_set.names[0]
    path.unlink()
    path.mkdir()
    outcome = enhance()
    assert outcome.code == 1
    assert str(path) in outcome.error
    path.rmdir()
    os.mkfifo(path)  # which must not be waited for
    assert counts(enhance()) == (0, 1, 3)
    assert path.is_file()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 320 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=320k", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounting a small disk needs root on Linux")
@pytest.mark.parametrize("room", ["nothing", "the manifest", "a remix but no manifest", "a remix and more"])
def test_a_full_disk_is_one_line_and_the_same_command_completes(
    room: str, enhance: Callable[..., Outcome], small_disk: Path, run_cli: RunCli, tiny_set: TinySet
) -> None:
    enhance("--scenes", "scene_V001")
    page = os.statvfs(small_disk).f_frsize
    a_remix = -(-(Path("made") / tiny_set.names[0]).stat().st_size // page) * page
    rooms = {"nothing": 0, "the manifest": 2 * page, "a remix but no manifest": a_remix}
    made = small_disk / "made"
    made.mkdir()
    ballast = small_disk / "ballast"
    free = os.statvfs(small_disk).f_bavail * page
    ballast.write_bytes(bytes(free - rooms.get(room, a_remix + 4 * page)))
    outcome = enhance("--output", made, "--workers", 1)
    assert outcome.code == 1
    assert outcome.error.startswith(f"cannot write {made}/")
    assert "No space left on device; make room or choose another place, then run the same command" in outcome.error
    assert list(made.glob(".*")) == []
    written = list(made.glob("*.flac"))
    assert len(written) == (room == "a remix and more")
    for path in written:
        assert len(soundfile.read(path)[0]) > 20_000

    ballast.unlink()
    again = enhance("--output", made)
    assert (again.code, again.json["made"] + again.json["kept"]) == (0, 4)
    assert run_cli("validate", made, *tiny_set.args).code == 0
