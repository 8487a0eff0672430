"""Submissions as zip files: what is read, what is refused and how fast, and that nothing is left behind."""

import io
import os
import shutil
import stat
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import Outcome, RunCli, TinySet

from harness.errors import ArchiveRefused
from harness.submission import archive
from harness.submission.archive import open_archive, unpacking_folder
from harness.submission.manifest import MANIFEST

ONE = "scene_V001_V1_remix.flac"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of the test's own for what is unpacked, in which nothing may be left at the end."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(archive, "cache_folder", lambda: folder)
    yield folder
    assert not (folder / "archives").exists() or not list((folder / "archives").iterdir())


def packed(submission: Path, path: Path, prefix: str = "", method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for member in sorted(submission.iterdir()):
            file.write(member, prefix + member.name)
    return path


def why_refused(path: Path) -> str:
    """What is said of an archive that is refused: one line."""
    with pytest.raises(ArchiveRefused) as refused, open_archive(path, [ONE]):
        pass
    assert "\n" not in str(refused.value)
    return str(refused.value)


def entry(name: str, content: bytes = b"x", **attributes: int) -> tuple[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo(name)
    for key, value in attributes.items():
        setattr(info, key, value)
    return info, content


def written(path: Path, *entries: tuple[zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for info, content in entries:
            file.writestr(info, content)
    return path


def edited(path: Path, name: str, field: int, form: str, value: int) -> Path:
    """Change a field of an entry in the directory: `field` is its offset there."""
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02")
    while content[at + 46 : at + 46 + len(name)] != name.encode():
        at = content.index(b"PK\x01\x02", at + 4)
    struct.pack_into(form, content, at + field, value)
    path.write_bytes(content)
    return path


FLAGS, METHOD, CRC, PACKED, SIZE, OFFSET = (8, "<H"), (10, "<H"), (16, "<I"), (20, "<I"), (24, "<I"), (42, "<I")


@pytest.mark.parametrize("prefix", ["", "anything/"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_file_is_judged_as_its_folder_is(
    prefix: str, method: int, submission: Path, tmp_path: Path, validate: Callable[..., Outcome]
) -> None:
    path = packed(submission, tmp_path / "mine.zip", prefix, method)
    assert validate(path).stdout == f"{path}: valid, 4 remixes\n"
    (judged,) = validate(path, "--json").json
    assert judged == {**validate(submission, "--json").json[0], "submission": str(path)}


def test_problems_inside_are_reported_one_by_one(
    submission: Path, tmp_path: Path, validate: Callable[..., Outcome]
) -> None:
    (submission / ONE).write_bytes(b"no audio")
    (submission / "notes.txt").touch()
    path = packed(submission, tmp_path / "mine.zip")
    (folder, file) = validate(submission, path, "--json").json
    assert folder["problems"] == file["problems"]
    assert [problem["file"] for problem in file["problems"]] == ["notes.txt", ONE]


def test_a_broken_manifest_is_not_said_to_lie_in_the_cache(
    submission: Path, tmp_path: Path, validate: Callable[..., Outcome], cache: Path
) -> None:
    (submission / MANIFEST).write_text("{")
    outcome = validate(packed(submission, tmp_path / "mine.zip"))
    assert outcome.code == 1
    assert str(cache) not in outcome.stdout


def test_a_folder_of_zip_files(submission: Path, tmp_path: Path, validate: Callable[..., Outcome]) -> None:
    (tmp_path / "all").mkdir()
    packed(submission, tmp_path / "all" / "a.zip")
    packed(submission, tmp_path / "all" / "B.ZIP")
    (tmp_path / "all" / "c.zip").write_bytes(b"PK")
    outcome = validate(tmp_path / "all")
    assert outcome.code == 1
    lines = outcome.stdout.splitlines()
    assert [line.split(": ")[1].split(",")[0] for line in lines[:3]] == ["valid", "valid", "not valid"]
    assert lines[3].startswith("  is damaged, truncated or no zip file")
    assert lines[-2:] == [
        f"{tmp_path / 'all' / 'B.ZIP'} and {tmp_path / 'all' / 'a.zip'} share 4 of 4 files",
        "2 valid, 1 not",
    ]


def test_what_macos_adds_is_passed_over(submission: Path, tmp_path: Path, validate: Callable[..., Outcome]) -> None:
    path = packed(submission, tmp_path / "mine.zip", "mine/")
    with zipfile.ZipFile(path, "a") as file:
        for name in ("__MACOSX/mine/._x.flac", "mine/.DS_Store", "__MACOSX/"):
            file.writestr(name, b"")
    outcome = validate(path)
    assert outcome.code == 0
    assert f"{path}: ignored 3 entries that macOS has added" in outcome.stderr


def test_a_submission_for_another_set_says_so(submission: Path, tmp_path: Path, run_cli: RunCli) -> None:
    path = packed(submission, tmp_path / "mine.zip")
    outcome = run_cli("validate", path)
    assert outcome.code == 2
    assert "is for the evaluation set tiny: say where that lies with --data ROOT --split valid" in outcome.stdout


LINK = (stat.S_IFLNK | 0o777) << 16
PIPE = (stat.S_IFIFO | 0o666) << 16
REFUSED: dict[str, tuple[list[tuple[zipfile.ZipInfo, bytes]], str]] = {
    "parent": ([entry("../x.flac")], "holds an entry with the name '../x.flac', which could lead elsewhere"),
    "inner parent": ([entry("a/../../x.flac")], "could lead elsewhere"),
    "absolute": ([entry("/etc/passwd")], "could lead elsewhere"),
    "backslash": ([entry("..\\x.flac")], "could lead elsewhere"),
    "double slash": ([entry("a//x.flac")], "could lead elsewhere"),
    "link": ([entry(ONE, b"/etc/passwd", external_attr=LINK)], f"holds a link, {ONE}: pack the file itself"),
    "pipe": ([entry(ONE, external_attr=PIPE)], f"holds {ONE}, which is not a regular file"),
    "folders": ([entry("a/x.flac"), entry("b/x.flac")], "holds folders (a/x.flac): pack its files alone"),
    "folder beside files": ([entry("x.flac"), entry("b/")], "holds folders (b/)"),
    "folder in folder": ([entry("a/x.flac"), entry("a/b/x.flac")], "holds folders (a/b/x.flac)"),
    "nothing": ([], "holds no files"),
    "only a folder": ([entry("a/")], "holds no files"),
    "lzma": ([entry(ONE, compress_type=zipfile.ZIP_LZMA)], "is compressed in an unusual way (14): use deflate"),
    "bzip2": ([entry(ONE, compress_type=zipfile.ZIP_BZIP2)], "is compressed in an unusual way (12): use deflate"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str, tmp_path: Path, validate: Callable[..., Outcome]) -> None:
    entries, expected = REFUSED[case]
    path = written(tmp_path / "mine.zip", *entries)
    assert expected in why_refused(path)
    outcome = validate(path)
    assert outcome.code == 1
    assert outcome.stdout.splitlines()[0] == f"{path}: not valid, 1 problem"
    assert not (tmp_path / "x.flac").exists()


def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = written(tmp_path / "mine.zip", entry(ONE), entry(ONE, b"y"))
    assert why_refused(path) == f"holds {ONE} twice"


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        (FLAGS, 1, "is encrypted"),
        (FLAGS, 0x40, "is encrypted"),
        (METHOD, 99, "compressed in an unusual way (99)"),
        (SIZE, 5, "is stored with two different sizes"),
        (PACKED, 2**31, "overlaps what follows it"),
        (OFFSET, 2**31, "overlaps what follows it"),
    ],
)
def test_a_lying_directory_is_refused(field: tuple[int, str], value: int, expected: str, tmp_path: Path) -> None:
    path = written(tmp_path / "mine.zip", entry(ONE, b"flac" * 9))
    if field == PACKED:
        path = edited(path, ONE, *METHOD, value=zipfile.ZIP_DEFLATED)
    assert expected in why_refused(edited(path, ONE, *field, value=value))


def test_entries_that_share_bytes_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "mine.zip", entry(ONE, b"flac" * 9), entry("y.flac", b"flac" * 9))
    assert why_refused(edited(path, "y.flac", *OFFSET, value=0)).endswith("overlaps what follows it: pack it again")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        *((by, "is damaged in the zip file (Bad CRC-32 for file): pack it again") for by in (-9000, -1)),
        *((by, "is not of the {} bytes that the zip file's directory says: pack it again") for by in (1, 1000)),
    ],
)
def test_a_size_that_is_not_what_comes_out_is_a_problem_of_that_file(
    change: int, expected: str, submission: Path, tmp_path: Path, validate: Callable[..., Outcome]
) -> None:
    path = packed(submission, tmp_path / "mine.zip")
    size = (submission / ONE).stat().st_size + change
    edited(path, ONE, *SIZE, value=size)
    # With the checksum of what would be read up to there, as somebody who means harm would have it.
    edited(path, ONE, *CRC, value=zlib.crc32((submission / ONE).read_bytes()[:size]))
    outcome = validate(path)
    assert outcome.code == 1
    assert outcome.stdout.splitlines()[1:] == [f"  {ONE}: {expected.format(size)}"]


def test_a_damaged_entry_is_a_problem_of_that_file(
    submission: Path, tmp_path: Path, validate: Callable[..., Outcome]
) -> None:
    path = packed(submission, tmp_path / "mine.zip", method=zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[content.index(b"fLaC") + 3000] ^= 1
    path.write_bytes(content)
    outcome = validate(path)
    heading, line = outcome.stdout.splitlines()
    assert heading == f"{path}: not valid, 1 problem"
    assert line == f"  {ONE}: is damaged in the zip file (Bad CRC-32 for file): pack it again"


@pytest.mark.parametrize("keep", [0, 1, 21, 100, -1, -22, -1000])
def test_a_truncated_archive_is_refused(keep: int, submission: Path, tmp_path: Path) -> None:
    path = packed(submission, tmp_path / "mine.zip")
    path.write_bytes(path.read_bytes()[:keep])
    assert why_refused(path).startswith("is damaged, truncated or no zip file (")


def test_random_damage_never_gives_more_than_one_line(
    submission: Path, tmp_path: Path, validate: Callable[..., Outcome]
) -> None:
    import random

    good = packed(submission, tmp_path / "mine.zip").read_bytes()
    draw = random.Random(1)
    directory = good.index(b"PK\x01\x02")
    for number in range(40):
        content = bytearray(good)
        for _ in range(3):
            content[draw.randrange(directory, len(good))] = draw.randrange(256)
        path = tmp_path / f"{number}.zip"
        path.write_bytes(content)
        assert validate(path, "--json").json[0]["verdict"] in ("valid", "not valid")


def bomb(path: Path, name: str, size: int) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, file.open(name, "w") as inner:
        for _ in range(size // 2**20):
            inner.write(bytes(2**20))
    return path


def test_a_bomb_is_not_unpacked(submission: Path, tmp_path: Path, validate: Callable[..., Outcome]) -> None:
    path = bomb(tmp_path / "mine.zip", ONE, 300 * 2**20)
    started = time.monotonic()
    outcome = validate(path)
    assert time.monotonic() - started < 10
    assert outcome.stdout.splitlines() == [
        f"{path}: not valid, 1 problem",
        f"  unpacks to over 100 times its size ({ONE}): no submission does",
    ]


def test_a_large_file_that_is_no_bomb_is_a_problem_of_that_file(
    tmp_path: Path, submission: Path, validate: Callable[..., Outcome]
) -> None:
    (submission / ONE).write_bytes(os.urandom(2**20))
    outcome = validate(packed(submission, tmp_path / "mine.zip"))
    assert f"  {ONE}: has 1048576 bytes, at most " in outcome.stdout


def crowded(path: Path, entries: int) -> Path:
    """A zip file with a directory of very many entries, all of one file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("x", b"")
    content = buffer.getvalue()
    start, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
    listed = content[start:end] * entries
    path.write_bytes(content[:start] + listed + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(listed), start, 0))
    return path


@pytest.mark.parametrize(
    ("entries", "expected"),
    [(10**6, "its directory has 47,000,000 bytes, at most"), (200_000, "holds more than 100,000 entries")],
)
def test_a_million_entries_are_refused_fast_and_in_little_memory(entries: int, expected: str, tmp_path: Path) -> None:
    path = crowded(tmp_path / "mine.zip", entries)
    tracemalloc.start()
    started = time.monotonic()
    try:
        assert expected in why_refused(path)
        assert tracemalloc.get_traced_memory()[1] < 2 * archive.MAX_DIRECTORY_BYTES
    finally:
        tracemalloc.stop()
    assert time.monotonic() - started < 10


def test_no_room_is_said_before_anything_is_unpacked(
    submission: Path, tmp_path: Path, validate: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed(submission, tmp_path / "mine.zip")
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    outcome = validate(path)
    assert outcome.code == 2
    assert f"{path}: not judged: needs " in outcome.stdout
    assert "make room, or set HARNESS_CACHE to another folder" in outcome.stdout


def test_what_a_killed_process_left_is_removed_and_what_is_in_use_is_not(cache: Path) -> None:
    program = (
        "import sys, time\n"
        "from harness.submission.archive import unpacking_folder\n"
        "with unpacking_folder() as folder:\n"
        "    (folder / 'x').touch()\n"
        "    print(folder, flush=True)\n"
        "    time.sleep(60)\n"
    )
    environment = {**os.environ, "HARNESS_CACHE": str(cache)}
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    try:
        theirs = Path(process.stdout.readline().strip())
        with unpacking_folder() as ours:
            assert ours != theirs
            assert (theirs / "x").exists()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert (theirs / "x").exists()
    with unpacking_folder():
        assert not theirs.exists()


def test_nothing_is_left_after_ctrl_c() -> None:
    def interrupted() -> None:
        with unpacking_folder() as folder:
            (folder / "x").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()  # the fixture looks at what is left


def test_zip_files_are_scored_under_their_own_names(
    submission: Path, tmp_path: Path, run_cli: RunCli, tiny_set: TinySet
) -> None:
    (submission / MANIFEST).unlink()
    path = packed(submission, tmp_path / "team.zip")
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"PK")
    command = ("score", path, broken, tmp_path / "none.rar", *tiny_set.args, "--limit", "1", "--workers", "1")
    outcome = run_cli(*command, "--engine", "fast", "--csv", "scores.csv", "--json")
    assert outcome.code == 2
    assert outcome.error == (
        f"not valid, so not scored: {broken}; fix what is reported (harness validate) and score again; "
        f"not judged, so not scored: {tmp_path / 'none.rar'}"
    )
    good, bad, none = outcome.json
    assert (good["submission"], good["scored"], good["ranked"]) == (str(path), 2, False)
    assert (bad["verdict"], none["verdict"]) == ("not valid", "not judged")
    header, *rows = (tmp_path / "scores.csv").read_text().splitlines()
    assert header == "submission,scene,song,listener,left_score,right_score,score"
    assert [row.split(",")[0] for row in rows] == [str(path)] * 2
    (row,) = run_cli("leaderboard", "--json").json
    assert row["system"] == "team"
    # Unpacked, it is the same submission: nothing is scored again, and the run is the same.
    again = run_cli("score", submission.rename(tmp_path / "team"), *command[4:], "--engine", "fast")
    assert "2 pairs are scored already" in again.stderr
    assert len(run_cli("leaderboard", "--json").json) == 1
