"""Database files with damaged bytes: what is true, or one line that says so; never other figures, never a traceback."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stored import EVALUATION_SET, FINGERPRINT, PAIRS, RUN, add
from support import Outcome, run_app

from harness_leaderboard.records import EnhancedFile, PieceCost
from harness_leaderboard.store import Store

MUTATIONS = 60
SHOWN = (("leaderboard", "--json"), ("runs", "show", "2", "--json"))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A database of three runs with scores of both engines, one of them incomplete, closed."""
    path = tmp_path_factory.mktemp("sound") / "x.db"
    with Store.open(f"sqlite:///{path}", create=True) as store:
        for key in "abc":
            run = replace(RUN, key=key * 64, system=f"system {key}")
            run_id = store.start_run(run, EVALUATION_SET, FINGERPRINT, {}, PAIRS)
            for place, pair in enumerate(PAIRS):
                file = f"{key}{place}" * 32
                store.mark_all_enhanced(run_id, [EnhancedFile(pair.scene, pair.listener, file, place)])
                add(store, pair.scene, pair.listener, 0.1 + 0.1 * place, 0.3, file=file)
                add(store, pair.scene, pair.listener, 0.1 + 0.1 * place + 1e-9, 0.3, "fast", file=file)
            store.keep_costs(run_id, [PieceCost("a song", 1.5, 2.5, 10**9)])
        store.mark_failed(run_id, {("S2", "L2"): "it raised"})
        store.keep_summaries()
    return path.read_bytes()


def damaged(sound: bytes, draw: random.Random) -> bytes:
    """Damage of one of several kinds: bytes anywhere, a page, the end, the header, a byte or a digit of the content."""
    content = bytearray(sound)
    used = [place for place in range(100, len(sound)) if sound[place]]
    match draw.randrange(6):
        case 0:
            for _ in range(draw.randint(1, 20)):
                content[draw.randrange(len(content))] = draw.randrange(256)
        case 1:
            del content[draw.randrange(len(content)) :]
        case 2:
            page = draw.randrange(len(content) // 4096) * 4096
            content[page : page + 4096] = draw.randbytes(4096) if draw.random() < 0.5 else bytes(4096)
        case 3:
            for _ in range(5):
                content[draw.randrange(200)] = draw.randrange(256)
        case 4:
            content[draw.choice(used)] = draw.randrange(256)
        case _:
            digits = [place for place in used if chr(sound[place]).isalnum()]
            content[draw.choice(digits)] = draw.choice(b"0123456789abcS")
    return bytes(content)


def shown(path: Path) -> list[Outcome]:
    return [run_app(*command, "--db", path) for command in SHOWN]


def notice(outcome: Outcome) -> bool:
    """Whether what is shown says that somebody else wrote some of it."""
    lines: list[dict[str, Any]] = outcome.json if isinstance(outcome.json, list) else [outcome.json]
    told = [line.get("status") == "changed" or line.get("changed") for line in lines]
    for line in lines:
        told += [not each["intact"] for name in ("log", "history") for each in line.get(name, ())]
        told += ["changed" in environment for environment in line.get("environments", {}).values()]
    return any(told)


def test_damage_is_never_passed_over(sound: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(sound)
    true = shown(path)
    assert [(outcome.code, outcome.stderr) for outcome in true] == [(0, ""), (0, "")]
    assert not any(map(notice, true))
    draw, kinds = random.Random(20), {"true": 0, "noticed": 0, "refused": 0}
    for _ in range(MUTATIONS):
        path.write_bytes(damaged(sound, draw))
        for found, expected in zip(shown(path), true, strict=True):
            if found.code:
                assert (found.code in (1, 2), found.stdout) == (True, "")
                assert found.stderr.startswith("error: ")
                assert found.stderr.count("\n") == 1
                kinds["refused"] += 1
            elif found.json == expected.json:
                kinds["true"] += 1
            else:
                assert notice(found), found.stdout
                kinds["noticed"] += 1
        assert sorted(tmp_path.iterdir()) == [path]
    assert all(kinds.values()), kinds
