"""Batches of submissions: whatever is wrong with one is its own line, and the others are judged and scored."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from support import RunCli, TinySet

from harness.cli import judging
from harness.submission import validation
from harness.submission.manifest import MANIFEST

TOO_LONG = "x" * 300


def fail_on(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have judging break down on the submission of that name, as a defect that nobody foresaw would."""

    def scan(verdict: validation.Verdict, *known: Any) -> set[str]:
        if verdict.folder.name == name:
            raise ZeroDivisionError("of a kind\nthat nobody foresaw")
        return original(verdict, *known)

    original = validation._scan
    monkeypatch.setattr(validation, "_scan", scan)


def test_an_unforeseen_failure_is_one_line_and_the_others_are_judged(
    submission: Path, tmp_path: Path, run_cli: RunCli, tiny_set: TinySet, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = shutil.copytree(submission, tmp_path / "broken")
    fail_on("broken", monkeypatch)
    outcome = run_cli("validate", broken, submission, *tiny_set.args)
    assert outcome.code == 2
    failed, valid, summary = outcome.stdout.splitlines()
    assert failed.startswith(f"{broken}: not judged: the harness failed (ZeroDivisionError: of a kind that nobody")
    assert "--traceback" in failed
    assert (valid, summary) == (f"{submission}: valid, 4 remixes", "1 valid, 0 not, 1 not judged")
    shown = run_cli("validate", broken, *tiny_set.args, "--traceback")
    assert (shown.code, "in scan\n    raise ZeroDivisionError" in shown.stderr) == (2, True)


@pytest.mark.slow
def test_the_others_are_scored(
    submission: Path, tmp_path: Path, run_cli: RunCli, tiny_set: TinySet, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = shutil.copytree(submission, tmp_path / "broken")
    fail_on("broken", monkeypatch)
    tiny_set.edit("scene_listeners", lambda content: {"scene_V001": ["V1"]})
    for name in (*tiny_set.names[1:], MANIFEST):
        (submission / name).unlink()
    outcome = run_cli("score", broken, TOO_LONG, submission, "--workers", 1, "--json", *tiny_set.args)
    assert outcome.code == 2
    assert "not judged, so not scored: " in outcome.stderr
    assert [each.get("scored", each.get("verdict")) for each in outcome.json] == ["not judged", "not judged", 1]


def test_an_interruption_is_no_failure_of_a_submission(
    submission: Path, run_cli: RunCli, tiny_set: TinySet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(judging, "judge_folder", interrupted)
    assert run_cli("validate", submission, *tiny_set.args).code == 130


def test_a_path_that_is_too_long(submission: Path, run_cli: RunCli, tiny_set: TinySet) -> None:
    for path in (TOO_LONG, f"{TOO_LONG}.zip", "a/" * 3000):
        outcome = run_cli("validate", path, submission, *tiny_set.args)
        assert outcome.code == 2
        assert outcome.stdout.splitlines()[0].endswith(": not judged: cannot be read: File name too long")
        assert f"{submission}: valid, 4 remixes" in outcome.stdout


@pytest.mark.parametrize(
    ("name", "escaped", "why"),
    [
        (b"nu\xff", "nu\\udcff", "its path is not UTF-8"),
        (b"nu\xff/inner", "nu\\udcff/inner", "its path is not UTF-8"),
        (b"a\nb", "a\\nb", "its name has characters that are not printable"),
        ("a\u202eb".encode(), "a\\u202eb", "its name has characters that are not printable"),
        (b"a\x1b[31m", "a\\x1b[31m", "its name has characters that are not printable"),
    ],
    ids=["not UTF-8", "in what is not UTF-8", "line end", "turns around", "escape sequence"],
)
def test_a_folder_that_cannot_be_called_by_its_name(
    name: bytes, escaped: str, why: str, submission: Path, tmp_path: Path, run_cli: RunCli, tiny_set: TinySet
) -> None:
    folder = tmp_path / os.fsdecode(name)
    folder.parent.mkdir(exist_ok=True)
    submission.rename(folder)
    text = run_cli("validate", folder, *tiny_set.args)
    assert text.code == 2
    assert f"{tmp_path}/{escaped}: not judged: {why}: rename" in text.stdout
    (verdict,) = run_cli("validate", folder, *tiny_set.args, "--json").json
    assert verdict["submission"] == f"{tmp_path}/{escaped}"
    assert verdict["reason"].startswith(why)
    assert run_cli("score", folder, *tiny_set.args).code == 2


def test_strange_names_in_a_submission_are_escaped(submission: Path, run_cli: RunCli, tiny_set: TinySet) -> None:
    (submission / os.fsdecode(b"bad\xff\x1b[31m\n.flac")).touch()
    text = run_cli("validate", submission, *tiny_set.args)
    assert text.code == 1
    assert text.stdout.splitlines()[1].startswith("  bad\\udcff\\x1b[31m")
    (verdict,) = run_cli("validate", submission, *tiny_set.args, "--json").json
    assert [problem["file"] for problem in verdict["problems"]] == ["bad\\udcff\\x1b[31m\\n.flac"]
