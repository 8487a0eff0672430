"""harness set listeners"""

import json
from pathlib import Path

from support import RunCli

from harness.music.metadata import read_listeners

HEADER = "listener;ear;frequency;level\n"
FREQUENCIES = (250, 500, 1000, 2000, 4000, 6000)


def rows(name: str, left: str, right: str) -> str:
    levels = (("left", left), ("right", right))
    return "".join(f"{name};{ear};{frequency};{level}\n" for ear, level in levels for frequency in FREQUENCIES)


def test_a_table_is_shown_and_written(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("\ufeff" + HEADER + rows("P1", "30", "72,5") + rows("P2", "5", "10"))
    made = run_cli("set", "listeners", "own.csv", "--output", "out/listeners.valid.json")
    assert made.code == 0, made.error
    lines = [line.split() for line in made.stdout.splitlines()]
    assert ["P1", "30.0", "72.5", "30.0", "mild"] in lines
    assert ["P2", "5.0", "10.0", "5.0", "normal"] in lines
    listeners = read_listeners(tmp_path / "out" / "listeners.valid.json")
    assert listeners["P1"].right.levels == (72.5,) * 6
    again = run_cli("set", "listeners", "out/listeners.valid.json", "--output", "out/listeners.valid.json")
    assert (again.code, "unchanged" in again.stderr) == (0, True)


def test_another_file_is_not_replaced_unless_asked(run_cli: RunCli, tmp_path: Path) -> None:
    assert run_cli("set", "listeners", "bisgaard", "--output", "l.json").code == 0
    before = (tmp_path / "l.json").read_bytes()
    refused = run_cli("set", "listeners", "clarity", "--output", "l.json")
    assert (refused.code, "give --overwrite" in refused.error) == (2, True)
    assert (tmp_path / "l.json").read_bytes() == before
    assert run_cli("set", "listeners", "clarity", "--output", "l.json", "--overwrite").code == 0
    assert len(json.loads((tmp_path / "l.json").read_text())) == 83


def test_a_number_is_drawn_by_the_seed(run_cli: RunCli) -> None:
    one, same, other = (
        json.loads(run_cli("set", "listeners", 5, "--json", *more).stdout)
        for more in ((), ("--seed", "icassp2024"), ("--seed", "another"))
    )
    assert one == same
    assert one != other
    assert len(other) == 5


def test_wrong_use_is_one_line(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(HEADER + rows("P1", "30", "200"))
    for args, expected in (
        (("own.csv",), "own.csv: row 8: the level is 200 dB HL, expected -10 to 140"),
        (("84",), "listeners 84: expected 1 to 83"),
        (("nobody",), "listeners 'nobody': expected a file"),
        (("missing.json",), "missing.json"),
        (("bisgaard", "--output", "l.csv"), "--output l.csv: expected a name that ends in .json"),
        (("bisgaard", "--output", ""), "--output is empty"),
    ):
        outcome = run_cli("set", "listeners", *args)
        assert (outcome.code, expected in outcome.error) == (2, True), outcome.error
    assert not (tmp_path / "l.csv").exists()
