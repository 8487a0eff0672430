"""What the pages of chosen pairs show, and the list of them."""

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from harness.challenge import CAD1, STEMS, Protocol
from harness.files import SAFE_NAME
from harness.listening.pictures import height_of
from harness.listening.simulation import WHAT_IT_IS
from harness.music.evaluationset import Pair, PairId
from harness.report.audiograms import audiogram
from harness.report.choosing import RULE, Choice
from harness.report.players import WAYS, Player
from harness.report.view import BoardView
from harness.report.words import MINUS, hundredths
from harness_leaderboard import labels

MAX_NAME = 120
"""Characters of a page's name; file systems take some 255 bytes."""

PITCHES = ((100.0, "100 Hz"), (1000.0, "1 kHz"), (8000.0, "8 kHz"))
"""Frequencies in Hz that are marked beside a spectrogram."""

Facts = Mapping[int, Mapping[str, Any]]
"""What every page says of each run, by its number (`words.run_facts`)."""


def page_names(choices: Sequence[Choice]) -> dict[PairId, str]:
    """The name of each pair's page, without its suffix: `<scene>_<listener>` where that is safe, short and unique."""
    names: dict[PairId, str] = {}
    used: set[str] = set()
    for choice in choices:
        name = f"{choice.scene}_{choice.listener}"
        # A disk may not tell "a" from "A"; and a_b of c is not a of b_c.
        if not SAFE_NAME.fullmatch(name) or len(name) > MAX_NAME or name.casefold() in used:
            name = f"pair-{hashlib.sha256(repr(choice.id).encode()).hexdigest()[:16]}"
        used.add(name.casefold())
        names[choice.id] = name
    return names


def pair_href(name: str) -> str:
    """Where the page of this name is, from the board's folder."""
    return f"pairs/{name}.html"


def remixes(view: BoardView, pair: Pair) -> tuple[dict[int, Path], dict[int, str]]:
    """The remixes of a pair that may be heard, and why others cannot.

    Args:
        view: the board.
        pair: a pair of its evaluation set.

    Returns:
        By the runs' numbers: paths of files that are there (whether they still are what was scored is for
        `listening.check_remix` to say); and reasons, which name no path, since pages are published.
    """
    scored = scores_of(view.pairs, pair.id)
    found, missing = {}, {}
    for row in view.rows:
        number, folder = row.source.id, row.run.folder
        if number not in scored:
            continue
        if folder is None:
            missing[number] = "it is not known where its files are"
        elif Path(folder).is_file():
            missing[number] = "its files are in a zip file"
        elif not Path(folder, pair.remix_name).is_file():
            missing[number] = "its file is no longer there"
        else:
            found[number] = Path(folder, pair.remix_name)
    return found, missing


def list_page(
    view: BoardView, choices: Sequence[Choice], names: Mapping[PairId, str], runs: Facts, heard: Collection[PairId]
) -> dict[str, Any]:
    """What the template `listen.html` shows.

    Args:
        view: the board.
        choices: the pairs that have a page, in the order in which they are to stand.
        names: of their pages (`page_names`).
        runs: facts of the runs.
        heard: the pairs whose pages have sound.
    """
    scores = {run: table.set_index(["scene", "listener"])["score"] for run, table in _plain(view.pairs).groupby("run")}
    systems = [runs[row.source.id] for row in view.rows[:3]]
    return {
        "systems": systems,
        "rule": RULE,
        "all": len(choices) == view.board.evaluation_set.pairs,
        "with_sound": len(heard),
        "rows": [
            {
                "href": pair_href(names[choice.id]),
                "scene": labels.printable(choice.scene),
                "listener": labels.printable(choice.listener),
                "reasons": choice.reasons,
                "sound": choice.id in heard,
                "hearing": _hearing(view.listeners, choice.listener),
                "track": _track(view.pairs, choice.id),
                "gains": "–" if _protocol(view) == CAD1 else _gains_in_words(view.gains, choice.scene),
                "scores": [
                    {"value": value, "text": labels.score(value)}
                    for value in (_score(scores.get(system["id"]), choice.id) for system in systems)
                ],
            }
            for choice in choices
        ],
    }


def signals(view: BoardView, pair: PairId, runs: Facts, numbers: Sequence[int]) -> list[dict[str, Any]]:
    """What the player says of its signals: the reference, the mixture, and the remixes of these runs."""
    scores = scores_of(view.pairs, pair)
    reference = "the true stems with these gains, amplified by NAL-R"
    mixture = "what systems are given: no gains, no amplification"
    of_stems = ""
    if _protocol(view) == CAD1:
        of_stems = "a remix has no score; of its stems: "
        reference = "the sum of the true stems, amplified by NAL-R"
        mixture = "what systems are given: no amplification"
    given: list[dict[str, Any]] = [
        {"name": "Reference", "short": "reference", "about": reference, "run": None},
        {"name": "Mixture", "short": "mixture", "about": mixture, "run": None},
    ]
    return given + [
        {
            "name": runs[number]["label"],
            "short": f"run{number}",
            "about": f"{of_stems}HAAQI {labels.score(scores[number]['score'])}",
            "run": runs[number],
        }
        for number in numbers
    ]


def pair_page(
    view: BoardView,
    choice: Choice,
    names: Mapping[PairId, str],
    runs: Facts,
    player: Player | None = None,
    missing: Mapping[int, str] | None = None,
) -> dict[str, Any]:
    """What the template `pair.html` shows.

    Args:
        view: the board.
        choice: the pair, one of those in `names`.
        names: of all pages, in the order in which people leaf through them.
        runs: facts of the runs.
        player: the pair's player, None without sound.
        missing: why the remix of a run cannot be heard, by its number; None where no sound was wanted.
    """
    order = list(names)
    position = order.index(choice.id)
    around = {
        "before": order[position - 1] if position else None,
        "after": order[position + 1] if position + 1 < len(order) else None,
    }
    pair = _of_set(view, choice.id)
    return {
        "scene": labels.printable(choice.scene),
        "listener": labels.printable(choice.listener),
        "reasons": choice.reasons,
        "position": position + 1,
        "count": len(order),
        **{
            where: None
            if other is None
            else {"href": pair_href(names[other]), "name": labels.printable(" · ".join(other))}
            for where, other in around.items()
        },
        "facts": _facts(view, choice),
        "hearing": _hearing(view.listeners, choice.listener),
        "audiogram": None if pair is None else audiogram(pair.listener),
        # The first challenge has none.
        "gains": None if pair is None or pair.scene.protocol == CAD1 else _gains(pair.scene.gains),
        "scores": _scores(view, choice.id, runs, missing or {}),
        "player": None if player is None else _for_template(player),
        "ways": WAYS,
        "pitches": [(round(height_of(frequency), 3), text) for frequency, text in PITCHES],
        "simulation": WHAT_IT_IS,
        "wanted": missing is not None,
    }


def _for_template(player: Player) -> dict[str, Any]:
    """The player with the paths of its scripts as the pair's page sees them."""
    ways = {way: {**about, "script": f"../{about['script']}"} for way, about in player.data["ways"].items()}
    return {"data": {**player.data, "ways": ways}, "signals": player.signals}


def _plain(pairs: pd.DataFrame) -> pd.DataFrame:
    return pairs.astype({"scene": str, "listener": str})


def scores_of(pairs: pd.DataFrame, pair: PairId) -> dict[int, dict[str, Any]]:
    """What the frame of pairs says of one pair, by the runs' numbers."""
    rows = pairs[(pairs["scene"] == pair[0]) & (pairs["listener"] == pair[1])]
    return {row["run"]: row for row in rows.to_dict("records")}  # type: ignore[misc]


def _score(scores: "pd.Series[float] | None", pair: PairId) -> float | None:
    return None if scores is None or pair not in scores.index else float(scores[pair])


def _protocol(view: BoardView) -> Protocol | None:
    """By which the board's pairs are scored; None where its evaluation set is not at hand."""
    return None if view.evaluation_set is None else view.evaluation_set.protocol


def _of_set(view: BoardView, id_: PairId) -> Pair | None:
    if view.evaluation_set is None:
        return None
    return next((pair for pair in view.evaluation_set.all_pairs if pair.id == id_), None)


def _track(pairs: pd.DataFrame, pair: PairId) -> str:
    return next((labels.printable(str(row["track"])) for row in scores_of(pairs, pair).values()), "–")


def _hearing(listeners: pd.DataFrame | None, listener: str) -> dict[str, Any] | None:
    """A listener's better-ear average in dB HL and severity."""
    found = None if listeners is None else listeners[listeners["listener"] == listener]
    if found is None or found.empty:
        return None
    row = found.iloc[0]
    band = str(row["band"])
    words = "normal hearing" if band == "normal" else f"{band} loss"
    return {"pta": float(row["pta"]), "text": _decibels(row["pta"]), "band": band, "words": words}


def _facts(view: BoardView, choice: Choice) -> list[tuple[str, str]]:
    """What is known of scene and listener, as names and values."""
    facts = [("Music", _track(view.pairs, choice.id))]
    scenes = None if view.scenes is None else view.scenes[view.scenes["scene"] == choice.scene]
    if scenes is not None and len(scenes):
        scene = scenes.iloc[0]
        form = str(scene["form"])
        if form == "loudspeakers" and pd.notna(scene["left_angle"]) and pd.notna(scene["right_angle"]):
            form = f"loudspeakers at {_decibels(scene['left_angle'])}° and {_decibels(scene['right_angle'])}°"
        facts.append(("Played over", form))
        facts.append(("Length", f"{scene['seconds']:.1f} s"))
    hearing = _hearing(view.listeners, choice.listener)
    if hearing is not None:
        facts.append(("Hearing", f"{hearing['words']}: {hearing['text']} dB HL in the better ear"))
    return facts


def _decibels(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0").replace("-", MINUS)


def _gain(value: float) -> str:
    return f"{value:+g}".replace("-", MINUS) if value else "0"


def _gains(gains: Mapping[str, float]) -> list[dict[str, Any]]:
    """Each stem's gain with its bar: from the middle of a box of 200 to its edge for the largest, or for 10 dB."""
    widest = max(10.0, *(abs(gains[stem]) for stem in STEMS))
    return [
        {
            "stem": stem,
            "gain": _gain(gains[stem]),
            "from": round(100 + 96 * min(gains[stem], 0.0) / widest, 1),
            "width": round(96 * abs(gains[stem]) / widest, 1),
            "sign": "up" if gains[stem] > 0 else "down",
        }
        for stem in STEMS
    ]


def _gains_in_words(gains: pd.DataFrame | None, scene: str) -> str:
    """The gains that are not zero: "vocals +6, other −6"."""
    found = [] if gains is None else gains[gains["scene"] == scene][["stem", "gain"]].itertuples(index=False)
    asked = {str(stem): float(gain) for stem, gain in found}
    return ", ".join(f"{stem} {_gain(asked[stem])}" for stem in STEMS if asked.get(stem)) or ("none" if asked else "–")


def _scores(view: BoardView, pair: PairId, runs: Facts, missing: Mapping[int, str]) -> dict[str, Any]:
    """The table of scores: a line for each run; both ears on an axis that they all share."""
    found = scores_of(view.pairs, pair)
    values = [float(row[ear]) for row in found.values() for ear in ("left", "right")]
    low = math.floor(10 * min(values, default=0.0)) / 10
    high = max(math.ceil(10 * max(values, default=1.0)) / 10, low + 0.1)

    def x(value: float) -> float:
        return round(8 + 184 * (value - low) / (high - low), 1)

    lines = []
    for row in view.rows:
        number = row.source.id
        if number not in found:
            continue
        its = found[number]
        left, right, score, clipped = its["left"], its["right"], its["score"], its["clipped"]
        mean = None if row.estimate is None else row.estimate.mean
        lines.append(
            {
                "run": runs[number],
                "score": score,
                "left": left,
                "right": right,
                "texts": [labels.score(value) for value in (score, left, right)],
                "left_x": x(left),
                "right_x": x(right),
                "against": None if mean is None else score - mean,
                "against_text": "–" if mean is None else hundredths(score - mean),
                "clipped": None if pd.isna(clipped) else int(clipped),
                "engine": str(its["engine"]),
                "silent": missing.get(number),
            }
        )
    return {"lines": lines, "low": f"{low:.1f}", "high": f"{high:.1f}"}
