"""The hostile and the tampering plugin of tests/reliability: every mode once, through the program, in both ways."""

import random
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from .common import DATABASE, SUBMISSION, Tally, Task

WAYS: Mapping[str, tuple[str, ...]] = {"process": (), "sandbox": ("--isolate",)}


def evil(way: str, modes: Mapping[str, str | None], options: tuple[str, ...], folder: Path) -> Tally:
    """One run of the hostile plugin, with a listener for each mode."""
    import hostile

    tiny = hostile.write_set(folder / "tiny", hostile.listeners_for(list(modes)))
    command = [
        "enhance",
        "--system",
        "evil",
        "--plugin",
        str(hostile.EVIL),
        *tiny.args,
        "--output",
        SUBMISSION,
        "--json",
    ]
    outcome = hostile.run_program([*command, *WAYS[way], *options], folder)
    came, tally = hostile.came_of(outcome, folder / SUBMISSION, folder.name), Tally()
    for mode, expected in modes.items():
        problems = hostile.problems_of(mode, expected, came) if hostile.HONEST in came.hashes else [came.stderr[-300:]]
        tally.add(f"hostile mode, {way}", [f"{mode}: {each}" for each in problems])
    tally.add(f"hostile run as a whole, {way}", hostile.problems_of_all(came))
    return tally


def loading(way: str, mode: str, expected: str | None, folder: Path) -> Tally:
    """One run of the hostile plugin that misbehaves while it is loaded."""
    import hostile

    tiny = hostile.write_set(folder / "tiny", [hostile.HONEST])
    command = ["enhance", "--system", "evil", "--plugin", str(hostile.EVIL), "--option", f"mode={mode}", *tiny.args]
    outcome = hostile.run_program([*command, "--output", SUBMISSION, "--json", *WAYS[way]], folder)
    return _one_line(f"hostile while loaded, {way}", mode, expected, outcome, folder)


def importing(way: str, text: str, expected: str, folder: Path) -> Tally:
    """One run of a plugin that misbehaves while it is imported."""
    import hostile

    (folder / "plugin").mkdir()
    (folder / "plugin/evil.py").write_text(f"print('noise')\n{text}\n")
    command = ["enhance", "--system", "evil", "--plugin", "plugin/evil.py", "--output", SUBMISSION, "--json"]
    outcome = hostile.run_program([*command, *WAYS[way]], folder)
    return _one_line(f"hostile while imported, {way}", text, expected, outcome, folder)


def _one_line(row: str, mode: str, expected: str | None, outcome: object, folder: Path) -> Tally:
    import hostile

    tally = Tally()
    problems = [f"{mode}: {each}" for each in hostile.problems_of_end(outcome, expected)]
    tally.add(row, [*problems, *hostile.survivors(folder.name)])
    return tally


def tampering(way: str, folder: Path) -> Tally:
    """One run of the tampering plugin, and one of an honest system, whose scores its pairs must have."""
    import hostile

    listeners = hostile.TAMPERING[way]
    tiny = hostile.write_set(folder / "tiny", listeners)
    command = ["run", *tiny.args, "--engine", "fast", "--json", "--db", DATABASE, "--system"]
    scores, failures = [], {}
    for system, options in (
        ("passthrough", ["--workers", "1"]),
        ("tampering", [*hostile.tampering_options(folder), *WAYS[way], "--workers", "2" if way == "process" else "1"]),
    ):
        own = folder / f"{folder.name}-{system}"
        own.mkdir()
        outcome = hostile.run_program([*command, system, *options, "--output", SUBMISSION], own)
        if outcome.code not in (0, 1) or (left := hostile.survivors(own.name)):
            raise RuntimeError(f"{system}: {outcome.stderr[-300:]}{left}")
        scores.append(hostile.scores_of(outcome))
        failures = {failure["listener"]: failure["reason"] for failure in outcome.json["failures"]}
    tally = Tally()
    for mode in listeners:
        tally.add(f"tampering mode, {way}", hostile.problems_of_tampering(mode, *scores, failures))
    return tally


def tasks(trials: int, draw: random.Random) -> list[Task]:
    """All modes once, however many trials are asked for."""
    del trials, draw
    import hostile

    ways = list(WAYS) if hostile.no_sandbox() is None else ["process"]
    found = []
    for way in ways:
        groups = {"misbehaving": (hostile.REASONS, ()), "hanging": (hostile.HANGING, ("--timeout", "10"))}
        groups["hungry"] = hostile.HUNGRY, ("--memory", "1")
        groups["leaving"] = (hostile.SEALED if way == "sandbox" else hostile.CHILDREN), ()
        for name, (modes, options) in groups.items():
            found.append(Task(partial(evil, way, modes, options), f"{name}, {way}"))
        found += [Task(partial(loading, way, *each), f"loading {each[0]}, {way}") for each in hostile.LOADING.items()]
        found += [
            Task(partial(importing, way, *each), f"importing {each[1]}, {way}") for each in hostile.IMPORTING.items()
        ]
        found.append(Task(partial(tampering, way), f"tampering, {way}"))
    if "sandbox" not in ways:
        print(f"no sandbox can be made here: {hostile.no_sandbox()}", flush=True)
    return found
