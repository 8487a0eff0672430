"""A page for each system: what it declares, its worst, median and best pairs, its history and provenance."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.report.view import BoardView
from harness.report.words import hundredths, seconds, web_address
from harness_leaderboard import classes, labels
from harness_leaderboard.history import Event, OldDeclaration
from harness_leaderboard.ranking import Row
from harness_leaderboard.whole import WholeRun

EACH = 3
"""So many of the worst, the median and the best pairs are shown."""

MOST_REASONS = 20
MOST_EVENTS = 200
LONGEST_TEXT = 500
"""Of what strangers wrote into a log or a setting."""


@dataclass(frozen=True)
class Stored:
    """A run with what the database says of it beside its scores.

    Attributes:
        run: the run with its pairs.
        old: what it declared before.
        events: its log.
        environments: the versions under which scores were computed, by their hashes.
    """

    run: WholeRun
    old: Sequence[OldDeclaration]
    events: Sequence[Event]
    environments: Mapping[str, Mapping[str, Any]]


def system_page(
    view: BoardView, row: Row, facts: Mapping[str, Any], stored: Stored, pair_pages: Mapping[tuple[str, str], str]
) -> dict[str, Any]:
    """What the template `system.html` shows of a run.

    Args:
        view: the board.
        row: the run on it.
        facts: `words.run_facts`.
        stored: the run as it is stored.
        pair_pages: the pages of pairs, by scene and listener.
    """
    run = row.run
    return {
        "run": facts,
        "standing": _standing(view, row),
        "description": None if run.description is None else labels.printable(run.description),
        "declared": _declared(row, facts),
        "class_facts": [_fact(name[0].upper() + name[1:], _text(value)) for name, value in classes.facts(run)],
        "levels": classes.levels(run),
        "settings": [(labels.printable(name), _text(value)) for name, value in sorted(run.settings.items())],
        "stems": _stems(view, row),
        "pairs": _pairs(view, row, pair_pages),
        "rule": f"The {EACH} pairs with the lowest and the {EACH} with the highest scores, and {EACH} around the "
        f"median; of equal ones the first by {view.board.unit} and listener. Behind the pair's best: in HAAQI × 100, "
        "behind the best of the systems that are compared on the front page.",
        "clipping": _clipping(stored.run),
        "failures": [
            (_text(reason), count)
            for reason, count in Counter(filter(None, stored.run.pairs.reason)).most_common(MOST_REASONS)
        ],
        "provenance": _provenance(row, stored),
        "history": _history(stored),
    }


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    text = labels.printable(text)
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"


def _standing(view: BoardView, row: Row) -> str:
    if row.estimate is None:
        return "It has no scores yet."
    figure = f"Mean HAAQI {labels.estimate(row)} over {row.scored:,} of {row.due:,} pairs"
    ears = f" (left ear {labels.score(row.left)}, right ear {labels.score(row.right)})"
    if row.rank is None:
        return f"{figure}{ears}. It has no rank: {row.status}, {labels.printable(row.why_not_ranked or '')}."
    ranked = sum(other.rank is not None for other in view.board.rows)
    return f"Rank {row.rank} of {ranked}, in group {row.group}. {figure}{ears}."


def _fact(name: str, value: object, href: str | None = None) -> dict[str, Any]:
    return {"name": name, "value": value, "href": href}


def _declared(row: Row, facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the run declares. Its contact stays in the database: pages are for everybody, and for their robots."""
    run = row.run
    found = [
        _fact("System", f"{labels.printable(run.system)} {labels.printable(run.version)}"),
        _fact("Parameters", "not declared" if run.parameters is None else f"{run.parameters:,}"),
        _fact("Trained on", facts["training_data"]),
        _fact("Licence of its weights", labels.printable(run.licence)),
    ]
    if run.not_eligible is not None:
        found.append(_fact("Not eligible", _text(run.not_eligible)))
    if run.team is not None:
        found.append(_fact("Team", facts["team"]))
    for name, value in (("Address", run.url), ("Paper", run.paper)):
        if value is not None:
            found.append(_fact(name, _text(value), web_address(value)))
    if facts["cost"] is not None:
        found.append(_fact("Cost", f"{seconds(facts['cost'])} s of processor time for a minute of music"))
    return found


def _stems(view: BoardView, row: Row) -> list[dict[str, Any]]:
    """For each stem its mean in either ear, and how far that is from the best of the other ranked systems."""
    found: dict[str, dict[str, Any]] = {}
    for name, mean in row.stems.items():
        ear, _, stem = name.partition("_")
        others = [other.stems[name] for other in view.board.ranked if name in other.stems and other is not row]
        best = max(others, default=None)
        line = found.setdefault(stem, {"name": stem, "left": None, "right": None})
        line[ear] = {
            "mean": mean,
            "score": labels.score(mean),
            "gap": "–" if best is None else hundredths(mean - best),
        }
    return list(found.values())


def _pairs(view: BoardView, row: Row, pages: Mapping[tuple[str, str], str]) -> list[dict[str, Any]]:
    ours = view.pairs[view.pairs["run"] == row.source.id]
    if ours.empty:
        return []
    best = view.pairs.groupby(["scene", "listener"], observed=True)["score"].max()
    ours = ours.sort_values(["score", "scene", "listener"], kind="stable")
    count = len(ours)
    each = min(EACH, count)
    middle = max((count - each) // 2, 0)
    chosen: dict[int, str] = {}
    for which, places in (
        ("worst", range(each)),
        ("best", range(count - each, count)),
        ("median", range(middle, middle + each)),
    ):
        for place in places:
            chosen.setdefault(place, which)
    lines = []
    for place, which in sorted(chosen.items()):
        pair = ours.iloc[place]
        key = (str(pair["scene"]), str(pair["listener"]))
        gap = float(best.loc[key]) - float(pair["score"])
        lines.append(
            {
                "name": " ".join(key),
                "href": pages.get(key),
                "which": which,
                "score": labels.score(pair["score"]),
                "left": labels.score(pair["left"]),
                "right": labels.score(pair["right"]),
                "behind": hundredths(-gap) if gap else "–",
                "track": labels.printable(str(pair["track"])),
            }
        )
    return lines


def _clipping(run: WholeRun) -> str:
    counts = [clipped for clipped in run.pairs.clipped if clipped is not None]
    if not counts:
        return "Nobody counted clipped samples."
    clipped = sum(count > 0 for count in counts)
    if not clipped:
        return f"None of {len(counts):,} remixes is clipped."
    worst = f"the worst in {max(counts):,} samples (at 32 kHz, both ears)"
    return f"{clipped:,} of {len(counts):,} remixes are clipped, {worst}."


def _provenance(row: Row, stored: Stored) -> list[dict[str, Any]]:
    run, source = row.run, row.source
    found = [
        _fact("Run", f"{source.id}, key {run.key}"),
        _fact("Submission", labels.printable(run.submission)),
        _fact("Weights", f"SHA-256 {run.weights_sha256}" if run.weights_sha256 else "none"),
        _fact("Isolation", run.isolation or "not known"),
        _fact("Python", labels.printable(run.python or "not known")),
        _fact("Engine", labels.checked_engine(row)),
        _fact("Last scored", source.last_scored or "–"),
    ]
    hashes = Counter(filter(None, stored.run.pairs.environment))
    for sha256, count in hashes.most_common(5):
        versions = stored.environments.get(sha256, {})
        text = ", ".join(f"{name} {version}" for name, version in sorted(versions.items())) or "unknown"
        found.append(_fact(f"{count:,} scores by", _text(text)))
    if stored.run.costs:
        costs = stored.run.costs
        found.append(
            _fact(
                "What it took",
                f"{len(costs)} pieces of music, {seconds(sum(cost.wall_seconds for cost in costs))} s, "
                f"{seconds(sum(cost.cpu_seconds for cost in costs))} s of processor time, "
                f"at most {max(cost.peak_bytes for cost in costs) / 1e6:,.0f} MB of memory",
            )
        )
    return found


def _history(stored: Stored) -> list[dict[str, str]]:
    """The log, newest first, with what was declared before."""
    found = []
    for event in stored.events:
        details = ", ".join(f"{name} {value}" for name, value in event.details.items())
        note = "" if event.intact else "changed outside the harness"
        found.append(
            {"at": event.at, "what": event.what, "details": _text("; ".join(filter(None, (event.why, details, note))))}
        )
    for old in stored.old:
        # Neither where files lie nor whom to write to is for everybody.
        changed = classes.declared_before(old.run, stored.run.scored.run, without=("folder", "contact", "key"))
        found.append({"at": old.replaced_at, "what": "declared until then", "details": _text(changed)})
    return sorted(found, key=lambda line: line["at"], reverse=True)[:MOST_EVENTS]
