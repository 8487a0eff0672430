"""Compiled code on disk: found again, compiled again where it is damaged, and kept only where nobody else can write."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from harness.errors import StorageError
from harness.haaqi import fast
from harness.haaqi.fast import code_cache, input_align


def double(x: float) -> float:
    return 2 * x


def fresh() -> Any:
    """The function, as a new process has it: nothing is loaded yet."""
    return code_cache.kept_on_disk(double, numba.njit(double))


def loads(compiled: Any) -> int:
    """How often code was found on disk when the function was called."""
    assert compiled(21.0) == 42.0
    return sum(compiled.stats.cache_hits.values())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place of the test's own for compiled code: the folder `compiled`, which does not exist yet."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    code_cache.code_folder.cache_clear()
    yield tmp_path / "cache" / "compiled"
    code_cache.code_folder.cache_clear()


def test_code_is_found_again(folder: Path) -> None:
    assert loads(fresh()) == 0
    assert loads(fresh()) == 1
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} == {".nbi", ".nbc"}


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: content[:100] + bytes([content[100] ^ 1]) + content[101:],
        lambda content: bytes(len(content)),
    ],
    ids=["empty", "half", "cut", "one bit", "zeros"],
)
def test_damaged_code_is_compiled_again(kind: str, damage: Callable[[bytes], bytes], folder: Path) -> None:
    loads(fresh())
    (path,) = folder.rglob(f"*.{kind}")
    path.write_bytes(damage(path.read_bytes()))
    assert loads(fresh()) == 0
    assert loads(fresh()) == 1


def test_what_is_whole_but_cannot_be_loaded_is_compiled_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:  # as another version of a library might leave it
        patch.setattr(code_cache._CheckedFiles, "_dump", lambda self, value: b"no pickle")
        loads(fresh())
    assert loads(fresh()) == 0
    assert loads(fresh()) == 1


def test_no_room_is_an_error_that_names_the_place(folder: Path) -> None:
    compiled = fresh()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(StorageError) as caught:
            compiled(1.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(caught.value).startswith(f"cannot keep compiled code in {folder}/")
    assert "File too large; make room there, or set HARNESS_CACHE" in str(caught.value)
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    assert loads(fresh()) == 0


def test_the_folder_is_ours_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.umask(0)
    try:
        inner = code_cache.code_folder()
    finally:
        os.umask(before)
    assert inner is not None
    assert inner.parent == folder
    for each in (folder, inner):
        assert each.stat().st_mode & 0o777 == 0o700
        for mode in (0o770, 0o707, 0o720):
            each.chmod(mode)
            code_cache.code_folder.cache_clear()
            with pytest.raises(StorageError, match=f"^{each} holds compiled code, and others may write to it: "):
                code_cache.code_folder()
        each.chmod(0o755)
        code_cache.code_folder.cache_clear()
        assert code_cache.code_folder() == inner
    code_cache.code_folder.cache_clear()
    monkeypatch.setattr(os, "geteuid", lambda: inner.stat().st_uid + 1)
    with pytest.raises(StorageError, match=f"^{folder} holds compiled code and belongs to another user: "):
        code_cache.code_folder()


@pytest.mark.slow
def test_settings_in_the_current_folder_are_not_heeded(tmp_path: Path) -> None:
    (tmp_path / ".numba_config.yaml").write_text("disable_jit: 1\n")
    program = "from harness.haaqi.fast.numerics import numba; print(numba.config.DISABLE_JIT)"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "0"), done.stderr


@pytest.mark.slow
def test_all_code_is_loaded_before_the_first_pair() -> None:
    program = """
import gc
import numpy as np
from numba.core.registry import CPUDispatcher
from harness.haaqi import conformance
from harness.haaqi.fast import pairs

def loaded():
    found = [each for each in gc.get_objects() if type(each) is CPUDispatcher]
    return {each.__qualname__: len(each.signatures) for each in found if each.__module__.startswith("harness")}

pairs._load_code()
before = loaded()
scene = conformance.scenes()[0]
reference = conformance.reference_mixture(scene.stems, scene.mixture, scene.gains)
for listener in scene.listeners:
    pairs.score_pair(scene.id, reference, (scene.processed(listener) / 32768).astype(np.float32), listener)
assert sum(before.values()) > 5, before
assert loaded() == before, (before, loaded())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_compiled_code_lies_in_a_folder_of_these_very_sources(cache: Path) -> None:
    input_align.middle_ear(np.ones(6000))
    kept = (cache / "compiled" / fast.sources_sha256()).rglob("*.nbi")
    assert any("input_align" in path.name for path in kept)


def test_without_a_place_for_it_code_is_compiled_each_time() -> None:
    script = "from harness.haaqi.fast import numerics; print(numerics.compiled(lambda x: x + 1)(1))"
    environment = {**os.environ, "HARNESS_CACHE": "/proc/nowhere"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "2"), done.stderr
