"""Pages for chosen pairs: audiograms, gains, the scores of each ear, and where it is asked for the sound."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from harness.challenge import STEMS
from harness.compute.local import map_unordered
from harness.files import SAFE_NAME
from harness.music.evaluationset import PairId
from harness.report.choosing import Choice, choose
from harness.report.pages import Pages
from harness.report.pairfacts import Facts, list_page, pair_page, pair_rows, signals
from harness.report.pairsounds import PairSounds, Remix, SoundTask, make_sounds
from harness.report.players import Player, player
from harness.report.view import BoardView

PAGES = 24
"""Of one board, unless more of them get sound: a page has some 40 kB."""

MAX_NAME = 120
"""Characters of a page's name; file systems take some 255 bytes."""


class PairPages:
    """The pages of a board's chosen pairs, and the list of them.

    Attributes:
        choices: the pairs that get a page (`choosing.RULE`).
        hrefs: where their pages are, from the board's folder, in the same order.
        with_sound: those of them that are to get sound.
        silent: those of `with_sound` that got none, and why, once `files` is through.
    """

    def __init__(self, view: BoardView, runs: Facts, sound: int = 0, lossless: bool = False) -> None:
        """Choose the pairs.

        Args:
            view: the board.
            runs: what every page says of each run (`words.run_facts`).
            sound: how many pairs are to get sound; none get any without the evaluation set.
            lossless: sound as FLAC instead of MP3.
        """
        self.view, self.runs, self.lossless = view, runs, lossless
        order = [row.source.id for row in view.rows]
        names = {number: str(facts["label"]) for number, facts in runs.items()}
        self.choices = choose(view.pairs, order, names, view.listeners, most=max(PAGES, sound))
        self.names = page_names(self.choices)
        self.hrefs = {pair: f"pairs/{name}.html" for pair, name in self.names.items()}
        self._pairs = {} if view.evaluation_set is None else {pair.id: pair for pair in view.evaluation_set.all_pairs}
        self.with_sound = [choice.id for choice in self.choices if choice.id in self._pairs][:sound]
        self.silent: dict[PairId, str] = {}

    @property
    def heard(self) -> int:
        """How many pairs have sound."""
        return len(self.with_sound) - len(self.silent)

    def files(
        self, pages: Pages, workers: int = 1, advance: Callable[[int, str], None] = lambda _count, _what: None
    ) -> Iterator[tuple[str, bytes]]:
        """All files, as they are made: paths from the board's folder, and contents.

        Args:
            pages: makes pages of templates.
            workers: processes that make the sound.
            advance: called with 1 and a pair's name when its sound is made.
        """
        by_id = {choice.id: choice for choice in self.choices}
        for choice in self.choices:
            if choice.id not in self.with_sound:
                yield self._page(pages, choice)
        for task, made in map_unordered(make_sounds, self._tasks(), workers):
            choice = by_id[task.pair.id]
            if made.problem is not None:
                self.silent[choice.id] = made.problem
                yield self._page(pages, choice, None, made)
            else:
                its = self._player(choice, made)
                yield from its.files.items()
                yield self._page(pages, choice, its, made)
            advance(1, " ".join(choice.id))
        heard = [pair for pair in self.with_sound if pair not in self.silent]
        context = list_page(self.view, self.choices, self.hrefs, self.runs, heard)
        yield "listen.html", pages.render("listen.html", "listen.html", context)

    def _page(
        self, pages: Pages, choice: Choice, its: Player | None = None, made: PairSounds | None = None
    ) -> tuple[str, bytes]:
        missing = made.missing if made else {}
        wanted = choice.id in self.with_sound
        context = pair_page(self.view, choice, self.hrefs, self.runs, its, missing, wanted)
        path = self.hrefs[choice.id]
        return path, pages.render("pair.html", path, context)

    def _player(self, choice: Choice, made: PairSounds) -> Player:
        numbers = [int(sound.name) for sound in made.sounds[2:]]
        titles = signals(self.view, choice.id, self.runs, numbers)
        return player(self.names[choice.id], made.sounds, titles)

    def _tasks(self) -> list[SoundTask]:
        found = []
        evaluation_set = self.view.evaluation_set
        if not self.with_sound or evaluation_set is None:
            return []
        hashes = evaluation_set.hashes(["mixture", *STEMS])
        for id_ in self.with_sound:
            pair = self._pairs[id_]
            music = {path: hashes[path] for path in (pair.scene.folder / f"{n}.wav" for n in ("mixture", *STEMS))}
            found.append(SoundTask(pair, self._remixes(id_), music, self.lossless))
        return found

    def _remixes(self, pair: PairId) -> tuple[Remix, ...]:
        rows = pair_rows(self.view.pairs, pair).set_index("run")
        folders = {row.source.id: row.run.folder for row in self.view.rows}
        return tuple(
            Remix(number, None if folder is None else Path(folder), str(rows.loc[number, "file_sha256"]))
            for number, folder in folders.items()
            if number in rows.index
        )


def page_names(choices: Sequence[Choice]) -> Mapping[PairId, str]:
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
