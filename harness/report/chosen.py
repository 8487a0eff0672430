"""The pairs that have pages of their own: chosen, their sound made, their pages written."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.music.evaluationset import Pair, PairId
from harness.report.choosing import RULE, choose
from harness.report.pages import Pages
from harness.report.pairpages import list_page, page_names, pair_href, pair_page, remixes, scores_of, signals
from harness.report.players import Player, player
from harness.report.sounding import Made, Wanted, make_sound
from harness.report.view import BoardView
from harness.scoring.tasks import MUSIC, music_of

FEWEST = 12
"""So many pairs have pages, if there are as many, however few of them have sound."""


class ChosenPairs:
    """The chosen pairs of a board."""

    def __init__(self, view: BoardView, runs: Mapping[int, Mapping[str, Any]], audio: int, lossless: bool) -> None:
        """Choose.

        Args:
            view: the board.
            runs: what pages say of each run (`words.run_facts`).
            audio: how many pairs get sound; 0 without the evaluation set.
            lossless: sound as FLAC rather than MP3.
        """
        self.view, self.runs = view, runs
        numbers = [row.source.id for row in view.rows]
        labels = {number: str(facts["label"]) for number, facts in runs.items()}
        self.choices = choose(view.pairs, numbers, labels, view.listeners, most=max(audio, FEWEST))
        self.names = page_names(self.choices)
        self.hrefs = {id_: pair_href(name) for id_, name in self.names.items()}
        self.wanted: list[Wanted] = []
        self.missing: dict[PairId, dict[int, str]] = {}
        self.failures: dict[PairId, str] = {}
        self.heard: list[PairId] = []
        if view.evaluation_set is None or audio == 0:
            return
        hashes = view.evaluation_set.hashes(MUSIC)
        pairs = {pair.id: pair for pair in view.evaluation_set.all_pairs}
        for choice in self.choices[:audio]:
            found, self.missing[choice.id] = remixes(view, pairs[choice.id])
            self.wanted.append(self._wanted(pairs[choice.id], found, hashes, lossless))

    def _wanted(self, pair: Pair, found: Mapping[int, Path], music: Mapping[Path, str], lossless: bool) -> Wanted:
        rows = scores_of(self.view.pairs, pair.id)
        scored = {path: str(rows[number]["file_sha256"]) for number, path in found.items()}
        return Wanted(pair, found, {**dict(music_of(pair.scene, music)), **scored}, lossless)

    def files(self, pages: Pages, workers: int, advance: Callable[[int, str], None]) -> Iterator[tuple[str, bytes]]:
        """The files of all pairs' pages, by path from the board's folder; those with sound first, as they are made."""
        players: dict[PairId, Player] = {}
        for task, made in make_sound(self.wanted, workers):
            id_ = task.pair.id
            if made.failure is None:
                players[id_] = self._player(task, made)
                yield from players[id_].files.items()
                self.heard.append(id_)
            else:
                self.failures[id_] = made.failure
            self.missing[id_].update(made.missing)
            advance(1, " ".join(id_))
        for choice in self.choices:
            path = self.hrefs[choice.id]
            context = pair_page(
                self.view, choice, self.names, self.runs, players.get(choice.id), self.missing.get(choice.id)
            )
            yield path, pages.render("pair.html", path, context)
        context = list_page(self.view, self.choices, self.names, self.runs, self.heard)
        yield "listen.html", pages.render("listen.html", "listen.html", {**context, "rule": RULE})

    def _player(self, task: Wanted, made: Made) -> Player:
        titles = signals(self.view, task.pair.id, self.runs, made.runs)
        return player(self.names[task.pair.id], made.sounds, titles, task.seconds)
