"""What the tests of the bundled systems share."""

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Tiny models gain nothing from threads, and lose a lot when the tests share the processor."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No weights in reach: an empty cache, and a proxy that nobody listens at."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small checkpoints of every kind of demucs; the tests of other systems have a `repo` of their own."""
    from checkpoints import hybrid_transformer, save_demucs_model, seeded, time_domain, write_demucs_repo

    folder = tmp_path_factory.mktemp("demucs")
    write_demucs_repo(folder)
    save_demucs_model(folder, "cccccccc", seeded(hybrid_transformer, 3))
    save_demucs_model(folder, "dddddddd", seeded(time_domain, 4), checksum=False)
    return folder
