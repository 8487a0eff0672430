"""The evaluator; and, called, `harness.haaqi(remix, scene, listener)`, the score of one remix.

The function has the name of the metric, and so has this package: once anything imports the package, it is what
`harness.haaqi` means. So it can be called.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """This package; called, it is `harness.results.scoring.haaqi`."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return import_module("harness.results.scoring").haaqi(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
