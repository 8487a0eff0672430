"""What several files say of the project is the same in each, and true."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

import harness_leaderboard
from harness import __version__
from harness.haaqi import agreement
from harness_leaderboard.records import CHECK_TOLERANCE

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_there_is_one_version() -> None:
    citation = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert citation
    assert "version" in PROJECT["project"]["dynamic"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "harness.__version__"}
    assert __version__ == citation[1]
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_rooms_are_those_of_the_documentation() -> None:
    """Every room and module of harness has its place in docs/explanation/design.md; `cli` and `fast` as folders."""
    page = (
        (ROOT / "docs" / "explanation" / "design.md")
        .read_text(encoding="utf-8")
        .partition("## The rooms of harness")[2]
    )
    rows = {
        name.rstrip("/"): row
        for row in page.splitlines()
        if row.startswith("| `")
        for name in re.findall(r"`([^`]+)`", row.split("|")[1])
    }
    for path in (ROOT / "harness").iterdir():
        if path.name.startswith("__") or path.name == "py.typed":
            continue
        assert path.name in rows, f"docs/explanation/design.md has no row for harness/{path.name}"
        if path.is_dir() and path.name != "cli":
            for module in path.glob("*.py"):
                if module.stem != "__init__":
                    assert f"`{module.stem}`" in rows[path.name], f"docs/explanation/design.md does not name {module}"


def test_the_map_of_the_leaderboard_names_every_module() -> None:
    for path in (ROOT / "leaderboard" / "harness_leaderboard").iterdir():
        if path.name.startswith("__") or path.name == "py.typed":
            continue
        assert f"`{path.stem}`" in str(harness_leaderboard.__doc__), f"its docstring does not name {path.name}"


def test_every_tool_of_the_linters_has_an_exact_version() -> None:
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()}
    for requirement in PROJECT["project"]["optional-dependencies"]["dev"]:
        name = re.split(r"[\[<>=]", requirement)[0]
        assert name in (*pinned, PROJECT["project"]["name"]), requirement


def test_the_engines_are_held_to_what_the_leaderboard_asks() -> None:
    """The leaderboard knows nothing of the engines, nor they of it, so each states the bound."""
    assert agreement.TOLERANCE == CHECK_TOLERANCE


def test_the_lowest_versions_that_are_tried_are_the_lowest_that_are_allowed() -> None:
    allowed = {
        requirement.name.lower(): specifier.version
        for requirement in map(Requirement, PROJECT["project"]["dependencies"])
        for specifier in requirement.specifier
        if specifier.operator in (">=", "==")
    }
    lines = (ROOT / "constraints-lowest.txt").read_text(encoding="utf-8").splitlines()
    tried = dict(line.split("==") for line in lines if not line.startswith("#"))
    # Why not PyTorch's is said there.
    assert {name: version for name, version in tried.items() if name != "torch"} == {
        name: version for name, version in allowed.items() if name != "torch"
    }
