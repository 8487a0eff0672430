"""Judging submissions: every problem is reported, at once, and the exit code tells valid, not valid, not judged."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from submission.damage import edit_manifest, problems
from support import FRAMES, Outcome, RunCli, TinySet

from harness.challenge import PROTOCOL
from harness.submission.flac import encode
from harness.submission.manifest import MANIFEST
from harness.submission.twins import twins
from harness.submission.validation import MAX_STRAYS

ONE, TWO, THREE, FOUR = (f"scene_V00{scene}_V{who}_remix.flac" for scene in (1, 2) for who in (1, 2))


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
    "left over": (
        lambda at: (at / ".partial-harness-x").touch(),
        [(".partial-harness-x", "is left over from an interrupted run")],
    ),
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
    "more clipped than there is": (
        lambda at: relist(at, lambda files: files[ONE].update(clipped=10**6)),
        [(ONE, "has at most 45120 samples, submission.json says that 1000000 were clipped")],
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


def test_what_people_see(submission: Path, validate: Callable[..., Outcome]) -> None:
    (submission / "[red]notes.txt").touch()
    (submission / ONE).unlink()
    outcome = validate(submission)
    assert outcome.code == 1
    assert outcome.stdout.splitlines() == [
        f"{submission}: not valid, 2 problems",
        "  [red]notes.txt: is a text file: the official program would take it for a scale factor; remove it",
        f"  {ONE}: is listed in submission.json but not there",
    ]


def test_the_same_problem_of_many_files_is_one_line(submission: Path, validate: Callable[..., Outcome]) -> None:
    for name in (ONE, TWO, THREE, FOUR):
        (submission / name).unlink()
    (submission / MANIFEST).unlink()
    (submission / "old.flac").touch()
    lines = validate(submission).stdout.splitlines()
    assert lines == [
        f"{submission}: not valid, 5 problems",
        "  old.flac: is not named <scene>_<listener>_remix.flac",
        f"  missing: 4 files, e.g. {ONE}, {TWO}, {THREE}",
    ]


def test_problems_that_differ_in_numbers_only_are_one_line(submission: Path, validate: Callable[..., Outcome]) -> None:
    relist(submission, lambda files: [files[name].update(sha256=f"{at}" * 64) for at, name in enumerate((ONE, TWO))])
    heading, line = validate(submission).stdout.splitlines()
    assert heading.endswith("not valid, 2 problems")
    assert line.startswith(f"  {ONE} has SHA-256 ")
    assert line.endswith(f"submission.json says 000000000000...; the like: 1 more, e.g. {TWO}")


def test_a_valid_submission_with_and_without_manifest(submission: Path, validate: Callable[..., Outcome]) -> None:
    outcome = validate(submission)
    assert (outcome.code, outcome.stdout) == (0, f"{submission}: valid, 4 remixes\n")
    expected = {
        "submission": str(submission),
        "verdict": "valid",
        "reason": None,
        "remixes": 4,
        "files": 4,
        "problems": [],
        "ranked": True,
        "why_not_ranked": None,
        "shares_files_with": [],
    }
    assert validate(submission, "--json").json == [expected]
    (submission / MANIFEST).unlink()
    why = "it has no submission.json, so its training data is not declared"
    outcome = validate(submission)
    assert outcome.code == 0
    assert outcome.stdout.splitlines() == [f"{submission}: valid, 4 remixes", f"  cannot be ranked: {why}"]
    assert validate(submission, "--json").json == [{**expected, "ranked": False, "why_not_ranked": why}]
    # Of a part of the evaluation set, only that part is due; the rest is no stray.
    (submission / ONE).unlink()
    assert validate(submission, "--scenes", "scene_V002").code == 0
    assert validate(submission, "--limit", 1).code == 1


@pytest.mark.parametrize(
    ("declared", "why"),
    [
        ({"training_data": "unknown"}, "its training data is not declared"),
        ({"training_data": "private"}, "trained on private data, which the challenge excludes"),
        ({"not_eligible": "it peeks"}, "it peeks"),
        ({"reference": True}, "a reference, not a system that competes"),
    ],
)
def test_why_a_valid_submission_can_never_be_ranked(
    declared: dict[str, Any], why: str, submission: Path, validate: Callable[..., Outcome]
) -> None:
    edit_manifest(submission, lambda content: content.update(declared))
    outcome = validate(submission)
    assert (outcome.code, outcome.stdout.splitlines()[1]) == (0, f"  cannot be ranked: {why}")
    (verdict,) = validate(submission, "--json").json
    assert (verdict["verdict"], verdict["ranked"], verdict["why_not_ranked"]) == ("valid", False, why)


def test_submissions_that_share_files(submission: Path, tmp_path: Path, validate: Callable[..., Outcome]) -> None:
    copies = [shutil.copytree(submission, tmp_path / name) for name in ("a", "b", "c")]
    for folder in copies:
        (folder / MANIFEST).unlink()
    replace_with_other_music(copies[1] / ONE)
    (copies[2] / ONE).rename(copies[2] / "x.flac")  # the same bytes under another name are not shared
    for name in (TWO, THREE):
        replace_with_other_music(copies[2] / name)
    outcome = validate(*copies)
    a, b, c = copies
    assert outcome.stdout.splitlines()[-4:] == [
        f"{a} and {b} share 3 of 4 files",
        f"{a} and {c} share 1 files (of 4 and 3)",
        f"{b} and {c} share 1 files (of 4 and 3)",
        "2 valid, 1 not",
    ]
    listed = validate(*copies, "--json").json
    assert listed[1]["shares_files_with"] == [
        {"submission": str(a), "files": 3},
        {"submission": str(c), "files": 1},
    ]


def test_a_submission_that_is_named_twice_is_judged_once(submission: Path, validate: Callable[..., Outcome]) -> None:
    assert validate(submission, submission / ".." / submission.name).stdout == f"{submission}: valid, 4 remixes\n"


def test_twins_of_many_submissions_are_found_fast() -> None:
    """50 submissions of the official size, 48 of them copies of one."""
    names = [f"{number}.flac" for number in range(19_200)]
    same = dict.fromkeys(names, "a" * 64)
    others = [{name: f"{which}{name}" for name in names} for which in (1, 2)]
    started = time.monotonic()
    found = twins([*[same] * 48, *others])
    assert time.monotonic() - started < 10
    assert len(found) == 48 * 47 // 2
    assert {each.files for each in found} == {19_200}


def test_archives_that_are_not_read_are_named(
    submission: Path, tmp_path: Path, validate: Callable[..., Outcome]
) -> None:
    every = tmp_path / "submissions"
    shutil.copytree(submission, every / "a")
    for name in ("b.tar.gz", "c.7z", "d.rar", "README.md", ".hidden.zip"):
        (every / name).touch()
    outcome = validate(every)
    assert outcome.code == 2
    unread = "not judged: is not a folder or a zip file: unpack it first"
    assert outcome.stdout.splitlines() == [
        f"{every / 'a'}: valid, 4 remixes",
        *(f"{every / name}: {unread}" for name in ("b.tar.gz", "c.7z", "d.rar")),
        "1 valid, 0 not, 3 not judged",
    ]
    assert validate(every / "c.7z").stdout == f"{every / 'c.7z'}: {unread}\n"


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
        ("papers/README.md", "README.md: not judged: is not a folder or a zip file"),
    ):
        outcome = validate(tmp_path / path)
        assert (outcome.code, expected in outcome.stdout) == (2, True)
    both = run_cli("validate", "nowhere", submission, *tiny_set.args)
    assert both.code == 2
    assert f"{submission}: valid" in both.stdout, "one missing path does not keep the others from being judged"
    scored = run_cli("score", "nowhere")
    assert (scored.code, scored.error) == (2, "nowhere: no such folder or zip file")


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
