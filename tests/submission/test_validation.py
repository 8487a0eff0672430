"""Judging submissions: every problem is reported, at once, and the exit code tells valid, not valid, not judged."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import FRAMES, Outcome, RunCli, TinySet

from harness.challenge import PROTOCOL
from harness.submission.flac import encode
from harness.submission.manifest import MANIFEST
from harness.submission.validation import MAX_STRAYS

ONE, TWO, THREE, FOUR = (f"scene_V00{scene}_V{who}_remix.flac" for scene in (1, 2) for who in (1, 2))


@pytest.fixture
def validate(run_cli: RunCli, tiny_set: TinySet) -> Callable[..., Outcome]:
    return lambda *args: run_cli("validate", *args, *tiny_set.args)


def problems(outcome: Outcome) -> list[tuple[str, str]]:
    (verdict,) = outcome.json
    return [(problem["file"], problem["message"]) for problem in verdict["problems"]]


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    change(content)
    (folder / MANIFEST).write_text(json.dumps(content))


def replace_with_other_music(path: Path) -> None:
    samples = np.random.default_rng(1).integers(-99, 99, (PROTOCOL.remix_frames(FRAMES)[0], 2)).astype(np.int16)
    path.write_bytes(encode(samples))


def relist(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    edit_manifest(folder, lambda content: change(content["files"]))


def link_out(folder: Path) -> None:
    shutil.move(folder / ONE, folder.parent / "elsewhere.flac")
    (folder / ONE).symlink_to(folder.parent / "elsewhere.flac")


def swap(folder: Path) -> None:
    (folder / TWO).unlink()
    (folder / TWO).symlink_to(ONE)


NO_HASH = {"sha256": "0" * 64}
PROBLEMS: dict[str, tuple[Callable[[Path], Any], list[tuple[str, str]]]] = {
    # what was done to a valid submission: the problems, in the order of the report
    "missing pair": (lambda at: (at / ONE).unlink(), [(ONE, "is listed in submission.json but not there")]),
    "missing pair, no manifest": (lambda at: ((at / ONE).unlink(), (at / MANIFEST).unlink()), [(ONE, "missing")]),
    "cut": (lambda at: os.truncate(at / ONE, 900), [(ONE, "damaged or not FLAC inside")]),
    "huge": (lambda at: os.truncate(at / ONE, 2**31), [(ONE, "has 2147483648 bytes, at most")]),
    "link out": (link_out, [(ONE, "is a link: submit the file itself")]),
    "link inside": (swap, [(TWO, "is a link: submit the file itself")]),
    "dangling link": (
        lambda at: (at / ONE).rename(at.parent / "x") and (at / ONE).symlink_to("no"),
        [(ONE, "is a link")],
    ),
    "folder for a file": (lambda at: ((at / ONE).unlink(), (at / ONE).mkdir()), [(ONE, "is not a regular file")]),
    "pipe for a file": (lambda at: ((at / ONE).unlink(), os.mkfifo(at / ONE)), [(ONE, "is not a regular file")]),
    "not a remix name": (
        lambda at: shutil.copy(at / ONE, at / "song.flac"),
        [("song.flac", "is not named <scene>_<li")],
    ),
    "unknown pair": (
        lambda at: shutil.copy(at / ONE, at / "scene_V001_V9_remix.flac"),
        [("scene_V001_V9_remix.flac", "names no scene-listener pair of the evaluation set")],
    ),
    "stray text": (
        lambda at: (at / f"{ONE[:-5]}.txt").write_text("0.5"),
        [(f"{ONE[:-5]}.txt", "is a text file: the official program would take it for a scale factor; remove it")],
    ),
    "hidden file": (
        lambda at: (at / ".DS_Store").touch(),
        [(".DS_Store", "does not belong to a submission: remove it")],
    ),
    "left over": (lambda at: (at / ".partial-x").touch(), [(".partial-x", "is left over from an interrupted run")]),
    "sub-folder": (lambda at: (at / "more").mkdir(), [("more", "is a folder: a submission holds files only")]),
    "stray link": (lambda at: (at / "etc").symlink_to("/etc"), [("etc", "is a link, and does not belong here")]),
    "manifest broken": (lambda at: (at / MANIFEST).write_text("{"), [(MANIFEST, "the file: Invalid JSON")]),
    "manifest wrong": (
        lambda at: edit_manifest(at, lambda content: content.update(system=5)),
        [(MANIFEST, "system: Input should be a valid string")],
    ),
    "manifest a link": (
        lambda at: (at / MANIFEST).symlink_to((at / MANIFEST).rename(at.parent / "manifest.json")),
        [(MANIFEST, "is a link: submit the file itself")],
    ),
    "manifest huge": (lambda at: os.truncate(at / MANIFEST, 2**31), [(MANIFEST, "has 2147483648 bytes, at most")]),
    "manifest a pipe": (lambda at: ((at / MANIFEST).unlink(), os.mkfifo(at / MANIFEST)), [(MANIFEST, "not a regular")]),
    "wrong hash": (
        lambda at: relist(at, lambda files: files[ONE].update(NO_HASH)),
        [(ONE, "submission.json says 000000000000...")],
    ),
    "another file than listed": (lambda at: replace_with_other_music(at / ONE), [(ONE, "has SHA-256 ")]),
    "unlisted": (lambda at: relist(at, lambda files: files.pop(ONE)), [(ONE, "is not listed in submission.json")]),
    "unlisted and cut": (
        lambda at: (relist(at, lambda files: files.pop(ONE)), os.truncate(at / ONE, 900)),
        [(ONE, "is not listed in submission.json"), (ONE, "damaged or not FLAC inside")],
    ),
    "listed but unknown": (
        lambda at: relist(at, lambda files: files.update({"../../etc/passwd": NO_HASH})),
        [("../../etc/passwd", "is listed in submission.json but not there")],
    ),
    "for another evaluation set": (
        lambda at: edit_manifest(at, lambda content: content["evaluation_set"].update(mixtures_sha256="0" * 64)),
        [(MANIFEST, "is for the evaluation set tiny, split valid (000000000000), not for tiny, split valid (")],
    ),
    "for another split": (
        lambda at: edit_manifest(at, lambda content: content["evaluation_set"].update(split="test")),
        [(MANIFEST, "is for the evaluation set tiny, split test (")],
    ),
    "many at once": (
        lambda at: (
            (at / "notes.txt").touch(),
            (at / "old").mkdir(),
            os.truncate(at / ONE, 900),
            (at / TWO).unlink(),
            replace_with_other_music(at / THREE),
            relist(at, lambda files: files.pop(FOUR)),
        ),
        [
            ("notes.txt", "is a text file"),
            ("old", "is a folder"),
            (FOUR, "is not listed"),
            (TWO, "is listed in submission.json but not there"),
            (ONE, "damaged"),
            (THREE, "has SHA-256"),
        ],
    ),
}


@pytest.mark.usefixtures("must_not_hang")
@pytest.mark.parametrize("case", PROBLEMS)
def test_every_problem_is_reported(case: str, submission: Path, validate: Callable[..., Outcome]) -> None:
    damage, expected = PROBLEMS[case]
    damage(submission)
    outcome = validate(submission, "--json")
    assert outcome.code == 1
    found = problems(outcome)
    assert [name for name, _ in found] == [name for name, _ in expected]
    for (_, message), (_, part) in zip(found, expected, strict=True):
        assert part in message
        assert "\n" not in message
    (verdict,) = outcome.json
    assert verdict["verdict"] == "not valid"


def test_a_table_for_people(submission: Path, validate: Callable[..., Outcome]) -> None:
    (submission / "[red]notes.txt").touch()
    (submission / ONE).unlink()
    outcome = validate(submission)
    assert outcome.code == 1
    lines = outcome.stdout.splitlines()
    assert lines[0] == f"{submission}: not valid, 2 problems"
    assert lines[1].split() == ["file", "problem"]
    assert lines[2].startswith("[red]notes.txt")
    assert ONE in outcome.stdout


def test_a_valid_submission_with_and_without_manifest(submission: Path, validate: Callable[..., Outcome]) -> None:
    for _ in range(2):
        outcome = validate(submission)
        assert (outcome.code, outcome.stdout) == (0, f"{submission}: valid, 4 remixes\n")
        (submission / MANIFEST).unlink(missing_ok=True)
    assert validate(submission, "--json").json == [
        {"submission": str(submission), "verdict": "valid", "reason": None, "remixes": 4, "problems": []}
    ]
    # Of a part of the evaluation set, only that part is due; the rest is no stray.
    (submission / ONE).unlink()
    assert validate(submission, "--scenes", "scene_V002").code == 0
    assert validate(submission, "--limit", 1).code == 1


def test_a_folder_of_submissions(
    submission: Path, tmp_path: Path, validate: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    every = tmp_path / "submissions"
    shutil.copytree(submission, every / "a")
    shutil.copytree(submission, every / "b")
    (every / "b" / ONE).unlink()
    (every / "README.md").write_text("How a submission looks")
    (every / ".git").mkdir()
    outcome = validate(every, "--json")
    assert outcome.code == 1
    assert [(Path(each["submission"]).name, each["verdict"]) for each in outcome.json] == [
        ("a", "valid"),
        ("b", "not valid"),
    ]
    two = validate(every / "a", submission, "--json")
    assert (two.code, [each["verdict"] for each in two.json]) == (0, ["valid", "valid"])


def test_what_cannot_be_judged_does_not_hide_the_rest(
    submission: Path, tmp_path: Path, run_cli: RunCli, tiny_set: TinySet
) -> None:
    """Without --data, submissions are for the embedded set, and these say that they are not."""
    every = tmp_path / "submissions"
    shutil.copytree(submission, every / "a")
    (every / "b").mkdir()
    outcome = run_cli("validate", every, "--json")
    assert outcome.code == 2
    assert [each["verdict"] for each in outcome.json] == ["not judged", "not judged"]
    reasons = [each["reason"] for each in outcome.json]
    assert reasons[0].endswith("is for the evaluation set tiny: say where that lies with --data ROOT --split valid")
    assert reasons[1].endswith("say what it is for with --data ROOT")
    assert "not judged: " in run_cli("validate", every).stdout

    tiny_set.music().unlink()
    assert run_cli("validate", submission, *tiny_set.args).code == 2


def test_where_no_submission_is(
    tmp_path: Path, validate: Callable[..., Outcome], run_cli: RunCli, submission: Path, tiny_set: TinySet
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "README.md").touch()
    for path, expected in (
        ("nowhere", "nowhere: not judged: no such folder"),
        ("empty", "empty: not judged: no submission here"),
        ("papers", "papers: not judged: no submission here"),
        ("papers/README.md", "README.md: not judged: no such folder"),
    ):
        outcome = validate(tmp_path / path)
        assert (outcome.code, expected in outcome.stdout) == (2, True)
    both = run_cli("validate", "nowhere", submission, *tiny_set.args)
    assert both.code == 2
    assert f"{submission}: valid" in both.stdout, "one missing path does not keep the others from being judged"
    scored = run_cli("score", "nowhere")
    assert (scored.code, scored.error) == (2, "nowhere: no such folder")


@pytest.mark.usefixtures("must_not_hang")
def test_a_flood_of_files_and_of_listed_names_is_cut_short(submission: Path, validate: Callable[..., Outcome]) -> None:
    for number in range(MAX_STRAYS + 5):
        (submission / f"stray{number}").touch()
    relist(submission, lambda files: files.update({f"{number}.flac": NO_HASH for number in range(50_000)}))
    outcome = validate(submission, "--json")
    assert outcome.code == 1
    found = problems(outcome)
    assert len(found) == 2 * MAX_STRAYS + 2
    assert ("", "holds 5 more entries that do not belong") in found
    assert (MANIFEST, f"lists {50_000 - MAX_STRAYS} more files that are not there") in found
