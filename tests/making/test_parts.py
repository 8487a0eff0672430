"""Parts of a submission, written by several commands: one after the other, at once, after each other's death."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from making.made import counts
from support import Outcome, RunCli, TinySet, TinySongs

from harness.cli import work
from harness.errors import StorageError, SubmissionError
from harness.making.claims import claimed, held, work_folder
from harness.music.evaluationset import EvaluationSet
from harness.music.layout import load
from harness.music.parts import Part
from harness.submission.manifest import MANIFEST, Manifest

Write = Callable[..., Path]
STEMS = "def separate(self, mixture, sample_rate):\n    "
QUARTERS = "return dict.fromkeys(STEMS, mixture / 4)"
WAITS = (
    "import pathlib, time\n    pathlib.Path('at-work').touch()\n"
    f"    while not pathlib.Path('go').exists():\n        time.sleep(0.02)\n    {QUARTERS}"
)


@pytest.fixture
def enhance(run_cli: RunCli, tiny_set: TinySet) -> Callable[..., Outcome]:
    return lambda *args: run_cli(
        "enhance", "--system", "oracle", *tiny_set.args, "--output", "made", "--json", *map(str, args)
    )


def remixes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.flac")}


def manifest_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    return found


def test_parts_together_are_what_one_command_makes(
    enhance: Callable[..., Outcome], run_cli: RunCli, tiny_set: TinySet
) -> None:
    made = Path("made")
    assert counts(enhance("--part", "2/2")) == (0, 2, 0)
    one = remixes(made)
    assert len(one) == 2
    assert manifest_of(made)["files"].keys() == one.keys()
    assert counts(enhance("--part", "1/2")) == (0, 2, 0)
    assert counts(enhance("--output", "whole")) == (0, 4, 0)
    assert remixes(made) == remixes(Path("whole"))
    parts, whole = manifest_of(made), manifest_of(Path("whole"))
    assert parts["costs"].keys() == whole["costs"].keys()
    assert {**parts, "costs": None} == {**whole, "costs": None}
    assert not work_folder(made).exists()
    assert run_cli("validate", made, *tiny_set.args).code == 0
    # Again, by parts or as a whole: nothing is to be done.
    assert counts(enhance("--part", "1/2")) == (0, 0, 2)
    assert counts(enhance()) == (0, 0, 4)


def test_all_parts_are_examined_with_the_same_music(
    enhance: Callable[..., Outcome], tiny_set: TinySet, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = []

    def examined(_system: object, manifest: Manifest, found: EvaluationSet) -> Manifest:
        heard.append([scene.id for scene in found.scenes])
        return manifest

    monkeypatch.setattr(work, "_examined", examined)
    for part in ("1/2", "2/2"):
        assert counts(enhance("--part", part)) == (0, 2, 0)
    assert heard == [[scene.id for scene in load(tiny_set.root).scenes]] * 2


def test_that_a_system_is_not_causal_is_not_taken_back_by_another_part(
    enhance: Callable[..., Outcome], tmp_path: Path
) -> None:
    assert enhance("--part", "1/2").code == 0
    found = manifest_of(Path("made"))
    found["causality"] = {"basis": "measured", "verdict": "not causal", "reason": "it heard what comes"}
    (tmp_path / "made" / MANIFEST).write_text(json.dumps(found))
    assert enhance("--part", "2/2").code == 0
    assert manifest_of(Path("made"))["causality"]["verdict"] == "not causal"


def test_a_part_with_several_processes(enhance: Callable[..., Outcome]) -> None:
    assert counts(enhance("--part", "1/1", "--processes", 2)) == (0, 4, 0)
    assert counts(enhance("--output", "whole")) == (0, 4, 0)
    assert remixes(Path("made")) == remixes(Path("whole"))
    assert not work_folder(Path("made")).exists()


def test_a_part_mends_its_own_files_and_leaves_the_others(enhance: Callable[..., Outcome], tiny_set: TinySet) -> None:
    assert counts(enhance()) == (0, 4, 0)
    before = remixes(Path("made"))
    changed, gone, other = (Path("made") / tiny_set.names[number] for number in (0, 1, 2))
    changed.write_bytes(b"x")
    gone.unlink()
    other.write_bytes(b"not ours")
    part = next(part for part in ("1/2", "2/2") if _share(enhance, part) == tiny_set.names[:2])
    assert remixes(Path("made")) == {**before, other.name: b"not ours"}
    assert counts(enhance("--part", part)) == (0, 0, 2)


def _share(enhance: Callable[..., Outcome], part: str) -> list[str]:
    """Run a part; the names of its files."""
    assert enhance("--part", part).code == 0
    assert enhance("--part", part, "--output", "alone").code == 0
    names = sorted(remixes(Path("alone")))
    for path in Path("alone").iterdir():
        path.unlink()
    return names


def test_what_is_there_already(enhance: Callable[..., Outcome], run_cli: RunCli, tiny_set: TinySet) -> None:
    made = Path("made")
    never = ("--overwrite", "never")
    assert counts(enhance("--part", "1/2", *never)) == (0, 2, 0)
    # The first part is not what the second would touch.
    assert counts(enhance("--part", "2/2", *never)) == (0, 2, 0)
    refused = enhance("--part", "2/2", *never)
    assert (refused.code, "made holds files of this part and --overwrite is never" in refused.error) == (1, True)

    stamps = {path.name: path.stat().st_mtime_ns for path in made.glob("*.flac")}
    assert counts(enhance("--part", "1/2", "--overwrite", "always")) == (0, 2, 0)
    now = {path.name: path.stat().st_mtime_ns for path in made.glob("*.flac")}
    assert sum(now[name] == stamps[name] for name in stamps) == 2
    assert len(manifest_of(made)["files"]) == 4

    common = ("enhance", "--system", "centre", *tiny_set.args, "--output", made, "--json")
    other = run_cli(*common, "--part", "1/2")
    assert (other.code, "made was made by another system (these differ: system" in other.error) == (1, True)
    assert len(remixes(made)) == 4
    # Whichever part comes first replaces the other system's, and the second adds to it.
    assert counts(run_cli(*common, "--part", "2/2", "--overwrite", "always")) == (0, 2, 0)
    assert (len(remixes(made)), manifest_of(made)["system"]) == (2, "centre")
    assert counts(run_cli(*common, "--part", "1/2", "--overwrite", "always")) == (0, 2, 0)
    assert len(manifest_of(made)["files"]) == 4
    assert run_cli("validate", made, *tiny_set.args).code == 0


def test_what_people_have_added_to_the_manifest_stays(enhance: Callable[..., Outcome]) -> None:
    enhance("--part", "1/2")
    path = Path("made") / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), "team": "Us"}))
    enhance("--part", "2/2")
    assert manifest_of(Path("made"))["team"] == "Us"
    assert len(manifest_of(Path("made"))["files"]) == 4


def test_stems_are_made_by_parts(run_cli: RunCli, tiny_songs: TinySongs) -> None:
    common = ("enhance", "--system", "centre", *tiny_songs.args, "--output", "made")
    for part in ("1/2", "2/2"):
        assert run_cli(*common, "--part", part).code == 0
    assert run_cli("validate", "made", *tiny_songs.args).code == 0


def test_what_cannot_be_identified_is_not_made_by_parts(run_cli: RunCli, tiny_set: TinySet, plugin: Write) -> None:
    path = plugin("parameters = 5\n" + STEMS + QUARTERS)
    outcome = run_cli("enhance", "--system", "probe", "--plugin", path, *tiny_set.args, "--part", "1/2")
    assert outcome.code == 2
    assert "cannot be identified" in outcome.error


# At the same time


def wait_until(condition: Callable[[], object], *processes: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 120
    while not condition():
        for process in processes:
            assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def start(tiny_set: TinySet, plugin: Write, tmp_path: Path) -> Callable[..., "subprocess.Popen[str]"]:
    """Start a command with a system that waits until there is a file of the name "go"."""
    path = plugin(STEMS + WAITS)

    def run(*args: object) -> "subprocess.Popen[str]":
        command = (
            "enhance",
            "--system",
            "probe",
            "--plugin",
            path,
            *tiny_set.args,
            "--output",
            "made",
            "--json",
            *args,
        )
        return subprocess.Popen(
            [sys.executable, "-m", "harness", *map(str, command)],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


Start = Callable[..., "subprocess.Popen[str]"]


def test_two_parts_at_once(start: Start, run_cli: RunCli, tiny_set: TinySet, tmp_path: Path) -> None:
    both = [start("--part", part) for part in ("1/2", "2/2")]
    wait_until(lambda: len(list(work_folder(tmp_path / "made").glob("*-of-2"))) == 2, *both)
    wait_until((tmp_path / "at-work").exists, *both)
    # What others are not to do meanwhile.
    for args, expected in (
        (("--part", "1/2"), "(part 1/2)"),
        (("--part", "1/3"), "(part 1/2)"),
        ((), "another harness is writing to made; wait"),
    ):
        third = start(*args)
        _, stderr = third.communicate(timeout=120)
        assert (third.returncode, expected in stderr) == (1, True), stderr
    # Who looks at it meanwhile sees a submission that is not complete, and nothing strange.
    judged = run_cli("validate", "made", *tiny_set.args).stdout
    assert "missing" in judged
    assert "interrupted" not in judged
    (tmp_path / "go").touch()
    for process in both:
        stdout, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
        assert json.loads(stdout)["made"] == 2
    assert len(manifest_of(tmp_path / "made")["files"]) == 4
    assert run_cli("validate", "made", *tiny_set.args).code == 0
    assert not work_folder(tmp_path / "made").exists()


def test_a_part_that_was_killed_goes_on_and_leaves_nothing(
    start: Start, run_cli: RunCli, tiny_set: TinySet, tmp_path: Path
) -> None:
    first = start("--part", "1/2")
    wait_until((tmp_path / "at-work").exists, first)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    assert [path.name for path in work_folder(tmp_path / "made").glob("*-of-*")] == ["1-of-2"]
    (tmp_path / "go").touch()
    # Another number of parts may begin now, and takes away what the dead has left.
    for part, expected in (("1/1", (4, 0)), ("1/2", (0, 2))):
        process = start("--part", part)
        stdout, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
        assert (json.loads(stdout)["made"], json.loads(stdout)["kept"]) == expected
    assert not work_folder(tmp_path / "made").exists()


def test_a_part_does_not_begin_while_the_whole_is_written(start: Start, tmp_path: Path) -> None:
    whole = start()
    wait_until((tmp_path / "at-work").exists, whole)
    part = start("--part", "1/2")
    _, stderr = part.communicate(timeout=120)
    assert part.returncode == 1
    assert "another harness is writing to made, and not a part of it; wait until it ends" in stderr
    (tmp_path / "go").touch()
    _, stderr = whole.communicate(timeout=120)
    assert whole.returncode == 0, stderr


def test_a_part_does_not_add_to_what_became_another_systems(start: Start, tmp_path: Path) -> None:
    part = start("--part", "1/2")
    wait_until((tmp_path / "at-work").exists, part)
    path = tmp_path / "made" / MANIFEST
    other = json.dumps({**json.loads(path.read_text()), "version": "2"})
    path.write_text(other)
    (tmp_path / "go").touch()
    _, stderr = part.communicate(timeout=120)
    assert part.returncode == 1
    assert "made was replaced by another system's submission meanwhile: choose another --output" in stderr
    assert path.read_text() == other


# Claims


def test_leftovers_of_the_dead_are_removed_and_the_living_are_not_touched(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    with held(folder, Part(1, 3)), claimed(folder, Part(1, 3)) as one:
        (one.folder / "unfinished").touch()
        dead = one.work / "2-of-3"
        dead.mkdir()
        (dead / "unfinished").touch()
        with held(folder, Part(3, 3)), claimed(folder, Part(3, 3)) as three:
            assert not dead.exists()
            assert (one.folder / "unfinished").exists()
            with three.turn():
                pass
        assert not three.folder.exists()
        assert one.work.exists()
        with pytest.raises(SubmissionError, match=r"\(part 1/3\)"), claimed(folder, None):
            pass
        with pytest.raises(SubmissionError, match="another harness is writing"), held(folder, None):
            pass
    assert not one.work.exists()
    # A whole submission's leftovers, too.
    (one.work / "whole").mkdir(parents=True)
    with held(folder, None):
        assert not one.work.exists()


def test_turns_are_taken_one_at_a_time(tmp_path: Path) -> None:
    """Many processes that each come, add one to a number, and go, so that the last takes the folder away each time."""
    folder = tmp_path / "made"
    count = (
        "import sys\nfrom pathlib import Path\nfrom harness.making.claims import claimed, held\n"
        "from harness.music.parts import Part\n"
        "folder, part = Path('made'), Part(int(sys.argv[1]), 4)\n"
        "for _ in range(50):\n"
        "    with held(folder, part), claimed(folder, part) as claim, claim.turn():\n"
        "        number = Path('number')\n"
        "        number.write_text(str(int(number.read_text()) + 1))\n"
    )
    (tmp_path / "number").write_text("0")
    processes = [
        subprocess.Popen([sys.executable, "-c", count, str(number)], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        for number in range(1, 5)
    ]
    for process in processes:
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
    assert (tmp_path / "number").read_text() == "200"
    assert not work_folder(folder).exists()


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounting a disk needs root on Linux")
def test_a_folder_that_is_a_file_system_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        with pytest.raises(StorageError, match="is where a file system is mounted"), claimed(folder, Part(1, 2)):
            pass
        assert not work_folder(folder).exists()
    finally:
        subprocess.run(["umount", folder], check=True)
