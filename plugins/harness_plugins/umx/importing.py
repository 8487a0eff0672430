"""Importing openunmix, also where torchaudio does not work."""

import contextlib
import importlib
import importlib.machinery
import sys
import threading
from types import ModuleType
from typing import Any

_IMPORT_LOCK = threading.Lock()


def import_openunmix() -> ModuleType:
    """Import openunmix, also where torchaudio is absent or broken.

    openunmix imports torchaudio when it is imported itself, but uses it only to read files, to write them and
    to resample: nothing that separation needs. Where torchaudio does not import, an empty module stands in for
    it while openunmix is imported. It is gone from `sys.modules` afterwards, so that all other code finds
    torchaudio in its true state; the few functions of openunmix that need it say so when called.
    """
    with _IMPORT_LOCK:
        # A broken torchaudio raises what its libraries raise: ImportError, OSError (a missing symbol), ...
        with contextlib.suppress(Exception):
            importlib.import_module("torchaudio")
        if "torchaudio" in sys.modules or "openunmix" in sys.modules:
            return _import_whole_openunmix()
        sys.modules["torchaudio"] = _torchaudio_stand_in()
        try:
            return _import_whole_openunmix()
        finally:
            del sys.modules["torchaudio"]


def _import_whole_openunmix() -> ModuleType:
    """With `openunmix.model`, which the package itself imports only later, inside functions."""
    importlib.import_module("openunmix.model")
    return importlib.import_module("openunmix")


def _torchaudio_stand_in() -> ModuleType:
    stand_in = ModuleType("torchaudio", "Stands in for torchaudio while openunmix is imported.")
    stand_in.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)

    def missing(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise ImportError(f"openunmix needs torchaudio.{name}, but torchaudio does not import here")

    stand_in.__dict__["__getattr__"] = missing
    return stand_in
