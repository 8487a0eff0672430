"""Evaluation and leaderboard harness for music enhancement for people with hearing loss.

For notebooks and scripts there are `evaluate`, `load_results`, `load_evaluation_set`, `remix`, `haaqi` and
`haaqi_batch`: see docs/reference/python.md.
"""

from importlib import import_module

__version__ = "0.2.0"

# Every program and every worker imports this module, and would wait for what it imports: each name is looked up where
# it is when it is first used. `__init__.pyi` says the same to type checkers.
_WHERE = {
    "HarnessError": "harness.errors",
    "Results": "harness.results.frames",
    "STEMS": "harness.challenge",
    "evaluate": "harness.results.evaluating",
    "haaqi": "harness.haaqi",
    "haaqi_batch": "harness.results.scoring",
    "load_evaluation_set": "harness.music.finding",
    "load_results": "harness.results.frames",
    "remix": "harness.results.scoring",
}


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(_WHERE[name])
    return module if name == "haaqi" else getattr(module, name)  # a package that can be called


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
