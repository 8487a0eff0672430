"""Documents that are bombs: refused soon, and without taking much memory."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import TypeAdapter, ValidationError

from harness.documents import MAX_KEYS, PIECE, PRINTABLE, PRINTABLE_LINES, at_most, ensure_few_values

BOMBS = """
import json, resource, sys
from pathlib import Path
from harness.errors import HarnessError
from harness.music.layout import load
from harness.submission.manifest import read_manifest

def numbered(count, value):
    return "{" + ",".join(f'"{number:06d}":{value}' for number in range(count)) + "}"

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

def refused(call, *args):
    before = peak()
    try:
        call(*args)
    except HarnessError as error:
        assert len(str(error)) < 500, error
        print(peak() - before, str(error))
    else:
        sys.exit("not refused")

folder = Path(sys.argv[1])
(folder / "metadata").mkdir()
start = {"format": 1, "system": "s", "version": "1", "class": "causal", "training_data": "none"}
start["evaluation_set"] = {"name": "a", "split": "b"}
start = json.dumps(start)[:-1]

for rest in (
    '"settings":' + numbered(100_000, "[]"),
    '"files":' + numbered(100_000, "[]"),
    '"files":{"a":' + numbered(100_000, "1") + "}",
    '"settings":' + numbered(2_000_000, "[]"),
    numbered(100_000, "1")[1:-1],
):
    (folder / "submission.json").write_text(f"{start},{rest}}}")
    refused(read_manifest, folder)
for name, content in (
    ("scenes.b.json", '{"a":' + numbered(100_000, "1") + "}"),
    ("scenes.b.json", numbered(100_001, "{}")),
    ("scenes.b.json", numbered(2_000_000, "{}")),
    ("scene_listeners.b.json", '{"a":["/"' + ',"/"' * 300_000 + "]}"),
    ("listeners.b.json", '{"a":{"audiogram_cfs":[-1' + ",-1" * 300_000 + "]}}"),
    ("gains.json", numbered(100_000, "[]")),
    ("gains.json", '{"a":' + numbered(100_000, "1") + "}"),
):
    for needed in ("scenes.b.json", "scene_listeners.b.json", "listeners.b.json", "gains.json"):
        (folder / "metadata" / needed).write_text("{}")
    (folder / "metadata" / name).write_text(content)
    del content
    refused(load, folder, "b")
"""


def test_no_bomb_takes_much_memory(tmp_path: Path) -> None:
    """Each of these took 200 MB to 12 GB for the errors of its entries."""
    run = subprocess.run([sys.executable, "-c", BOMBS, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert len(lines) == 12
    for line in lines:
        megabytes, _, message = line.partition(" ")
        assert int(megabytes) < 100, message
    for position, expected in (
        (0, "settings: has 100000 entries, at most 1000 are expected"),
        (1, "files.000000: Input should be an object"),
        (2, f"files.a: has 100000 entries, at most {MAX_KEYS} are expected"),
        (3, "holds some 4,000,009 values, at most 838,860 are expected"),
        (6, "the file: has 100001 entries, at most 100000 are expected"),
        (8, "a.0: String should match pattern"),
        (9, "a.audiogram_cfs.0: Input should be greater than 0"),
    ):
        assert expected in lines[position]


def test_values_are_counted_without_parsing() -> None:
    for content, marks in ((b"1", 0), (b"[1,2,3]", 3), (b'{"a": 1, "b": [{}]}', 4), (b'["a,b"]', 2)):
        ensure_few_values(content, marks)
        with pytest.raises(ValueError, match=f"holds some {marks} values, at most {marks - 1} are expected"):
            ensure_few_values(content, marks - 1)


def test_a_mapping_is_validated_whole_in_pieces() -> None:
    kind: TypeAdapter[dict[str, int]] = TypeAdapter(Annotated[dict[str, int], at_most(10 * PIECE)])
    whole = {str(number): number for number in range(10 * PIECE)}
    assert list(kind.validate_python(whole).items()) == list(whole.items())
    with pytest.raises(ValidationError, match="has 1001 entries, at most 1000 are expected"):
        kind.validate_python({**whole, "more": 1})
    with pytest.raises(ValidationError) as caught:
        kind.validate_python(dict.fromkeys(whole, "x"))
    assert caught.value.error_count() == PIECE
    with pytest.raises(ValidationError) as caught:
        kind.validate_python({**whole, "999": "x"})
    assert [error["loc"] for error in caught.value.errors()] == [("999",)]


@pytest.mark.parametrize("text", ["a\0", "a\nb", "a\tb", "\x1b[31m", "\u202eb", "\u2066", "\x7f", "\u2028", "\ud800"])
def test_what_is_not_printable_is_refused(text: str) -> None:
    for kind in (PRINTABLE, PRINTABLE_LINES):
        adapter: TypeAdapter[str] = TypeAdapter(Annotated[str, kind])
        assert adapter.validate_python("Motörhead - 愛") == "Motörhead - 愛"
        if kind is PRINTABLE_LINES and text == "a\nb":
            assert adapter.validate_python(text) == text
            continue
        with pytest.raises(
            ValidationError, match=r"U\+[0-9A-F]{4} is not a printable character|valid unicode|surrogate"
        ):
            adapter.validate_python(text)
