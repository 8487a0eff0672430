"""What `import harness` gives: names for notebooks and scripts, nothing imported ahead, the same for type checkers."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import harness

PUBLIC = {
    "HarnessError",
    "Results",
    "STEMS",
    "evaluate",
    "haaqi",
    "haaqi_batch",
    "load_evaluation_set",
    "load_results",
    "remix",
}


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_nothing_is_imported_ahead() -> None:
    program = "import sys; before = set(sys.modules); import harness; dir(harness); print(*set(sys.modules) - before)"
    assert run(program) == "harness"


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_each_name_is_there_in_a_fresh_process(name: str) -> None:
    """By attribute, and by a from-import; none needs another one to be imported before."""
    program = f"import harness; one = harness.{name}; from harness import {name}; assert one is {name}; print(1)"
    assert run(program) == "1"


def test_names_are_listed_and_others_are_missing() -> None:
    assert set(dir(harness)) >= PUBLIC | {"__version__"}
    with pytest.raises(AttributeError, match="module 'harness' has no attribute 'nonsense'"):
        _ = harness.nonsense
    assert not hasattr(harness, "__wrapped__")


def test_type_checkers_are_told_the_same() -> None:
    stub = Path(harness.__file__).with_suffix(".pyi")
    declared = set()
    for node in ast.parse(stub.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            assert all(each.name == each.asname for each in node.names)
            declared |= {each.name for each in node.names}
        else:
            assert isinstance(node, ast.AnnAssign)
            assert isinstance(node.target, ast.Name)
            declared.add(node.target.id)
    assert declared == PUBLIC | {"__version__"}
    for node in ast.parse(stub.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            module = sys.modules.get(str(node.module)) or __import__(str(node.module), fromlist=["x"])
            for each in node.names:
                if each.name != "haaqi":  # the package of this name is called in its place
                    assert getattr(module, each.name) is getattr(harness, each.name)
