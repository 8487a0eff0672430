"""Listeners: those that are built in, drawn ones, and those in files of the official form and in tables."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import DataError, UsageError
from harness.music.metadata import read_listeners
from harness.sets.draws import choose, seeded
from harness.sets.listeners import as_listeners, load_listeners

SHARED = Path(__file__).parents[3] / "shared" / "golden_data" / "metadata"
FREQUENCIES = (250, 500, 1000, 2000, 4000, 6000)


def table(path: Path, rows: list[list[Any]], separator: str = ",", encoding: str = "utf-8", end: str = "\n") -> Path:
    lines = [["listener", "ear", "frequency", "level"], *rows]
    path.write_bytes(end.join(separator.join(map(str, line)) for line in lines).encode(encoding))
    return path


def rows_of(name: str = "L1", level: float = 20) -> list[list[Any]]:
    return [[name, ear, frequency, level] for ear in ("left", "right") for frequency in FREQUENCIES]


def test_the_clarity_listeners_are_the_83_of_the_challenge() -> None:
    clarity = load_listeners("clarity", "")
    names = list(clarity)
    assert (len(names), names[0], names[-1]) == (83, "L0001", "L0100")
    assert clarity["L0001"]["audiogram_levels_l"] == [45, 45, 35, 45, 60, 65, 70, 65]
    # The official program draws these for scene_10001 of the published training scenes, from 83 in this order.
    assert choose(seeded("icassp2024"), list(clarity), 2) == ["L0066", "L0057"]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the golden data is not beside this checkout")
def test_the_clarity_listeners_are_the_golden_ones() -> None:
    golden = json.loads((SHARED / "listeners.clarity83.json").read_text())
    assert list(load_listeners("clarity", "").items()) == list(golden.items())


def test_the_standard_audiograms() -> None:
    """Bisgaard et al. 2010, tables 2 and 4: the pure-tone averages of 500, 1000, 2000 and 4000 Hz, computed by hand."""
    bisgaard = as_listeners(load_listeners("bisgaard", ""))
    assert {who.id: who.better_ear_average for who in bisgaard} == {
        "N1": 16.25,
        "N2": 31.25,
        "N3": 46.25,
        "N4": 62.5,
        "N5": 76.25,
        "N6": 88.75,
        "N7": 102.5,
        "S1": 22.5,
        "S2": 48.75,
        "S3": 62.5,
    }
    for who in bisgaard:
        assert who.left == who.right
        assert list(who.left.levels) == sorted(who.left.levels)
        assert who.left.levels[-1] == who.left.levels[-2]


def test_a_number_draws_from_the_clarity_listeners() -> None:
    clarity = load_listeners("clarity", "")
    drawn = load_listeners("20", "a")
    assert len(drawn) == 20
    assert all(clarity[name] == record for name, record in drawn.items())
    assert load_listeners("20", "a") == drawn
    assert load_listeners("20", "b") != drawn
    # More listeners keep those that were drawn before.
    assert set(drawn) < set(load_listeners("21", "a"))
    assert load_listeners("83", "a") == clarity


@pytest.mark.parametrize("named", ["0", "84", "-3", "listeners.txt", "", "clarity83"])
def test_what_names_no_listeners(named: str) -> None:
    with pytest.raises(UsageError, match="listeners"):
        load_listeners(named, "a")


def test_a_table_becomes_what_the_evaluation_set_reads(tmp_path: Path) -> None:
    rows = rows_of("B2", 22.5) + rows_of("A1", -5)
    rows[3] = ["B2", "L", 2000.0, "30"]
    # In any order, with blank lines and blanks around values.
    records = load_listeners(str(table(tmp_path / "l.csv", [rows[-1], *rows[:-1], [" A1 ", "R", "8000", 60], [""],
                                                            ["A1", "LEFT", 8000, 55]])), "")  # fmt: skip
    assert list(records) == ["A1", "B2"]
    assert records["B2"]["audiogram_cfs"] == list(FREQUENCIES)
    assert records["B2"]["audiogram_levels_l"] == [22.5, 22.5, 22.5, 30, 22.5, 22.5]
    assert records["A1"]["audiogram_cfs"] == [*FREQUENCIES, 8000]
    assert records["A1"]["audiogram_levels_r"] == [-5] * 6 + [60]
    (tmp_path / "listeners.json").write_text(json.dumps(records))
    assert list(read_listeners(tmp_path / "listeners.json").values()) == as_listeners(records)
    assert load_listeners(str(tmp_path / "listeners.json"), "") == records


@pytest.mark.parametrize(
    ("separator", "encoding", "end"),
    [(",", "utf-8-sig", "\r\n"), (";", "utf-8-sig", "\r\n"), ("\t", "utf-8", "\n"), (",", "utf-8", "\r")],
)
def test_what_spreadsheets_write(separator: str, encoding: str, end: str, tmp_path: Path) -> None:
    level = "22.5" if separator == "," else "22,5"
    path = table(tmp_path / "Hörer.CSV", [[n, e, f, level] for n, e, f, _ in rows_of()], separator, encoding, end)
    assert load_listeners(str(path), "")["L1"]["audiogram_levels_l"] == [22.5] * 6


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    lines = ["Level,Note,ID,Frequency,Ear", *(f'"{lv}","a, b",{n},{f},{e}' for n, e, f, lv in rows_of())]
    (tmp_path / "l.csv").write_text("\n".join(lines))
    assert load_listeners(str(tmp_path / "l.csv"), "")["L1"]["audiogram_levels_r"] == [20] * 6


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda rows: rows.pop(3), "L1 has no level for the left ear at 2000 Hz: both ears need 250, 500,"),
        (lambda rows: rows.__delitem__(slice(6, None)), "L1 has no level for the right ear: add its rows"),
        (lambda rows: rows.append(["L1", "left", 750, 20]), "no level for the right ear at 750 Hz"),
        (
            lambda rows: rows.append(["L1", "l", "250.0", 25]),
            "row 14: the left ear of L1 has a level at 250 Hz in row 2",
        ),
        (lambda rows: rows[4].__setitem__(3, 141), "row 6: the level is 141 dB HL, expected -10 to 140"),
        (lambda rows: rows[4].__setitem__(3, -20), "row 6: the level is -20 dB HL"),
        (lambda rows: rows[4].__setitem__(3, "NR"), "row 6: the level is 'NR', expected a number in dB HL: where a"),
        (lambda rows: rows[4].__setitem__(3, ""), "row 6: the level is missing"),
        (lambda rows: rows[4].__setitem__(3, "nan"), "row 6: the level is 'nan'"),
        (lambda rows: rows[4].__setitem__(3, "1e1"), "row 6: the level is '1e1'"),
        (lambda rows: rows[4].__setitem__(2, "1k"), "row 6: the frequency is '1k', expected a number in Hz"),
        (lambda rows: rows[4].__setitem__(2, "0"), "row 6: the frequency is 0"),
        (lambda rows: rows[4].__setitem__(2, "48000"), "row 6: the frequency is 48000 Hz, expected 0 to 24000"),
        (lambda rows: rows[4].__setitem__(1, "both"), "row 6: the ear is 'both', expected left or right"),
        (lambda rows: rows[4].__setitem__(0, "Müller"), "row 6: the listener is 'Müller', expected 1 to 100 of the"),
        (lambda rows: rows[4].__setitem__(0, "../L1"), "row 6: the listener is '../L1'"),
        (lambda rows: rows[4].__setitem__(0, ""), "row 6: the listener is missing"),
        (lambda rows: rows[4].__setitem__(0, "\x1b[31m"), r"row 6: the listener is '\\\\x1b"),
        (lambda rows: rows[4].__setitem__(3, "22,5"), "row 6 has 5 values for 4 columns: where the decimal sign"),
        (lambda rows: rows.extend(rows_of("l1")), "the listeners L1 and l1 differ in case only"),
        (lambda rows: rows.clear(), "holds no listener; expected the columns listener, ear, frequency, level"),
    ],
)
def test_a_table_that_is_wrong(change: Any, expected: str, tmp_path: Path) -> None:
    rows = rows_of()
    change(rows)
    with pytest.raises(DataError, match=rf"l\.csv.*{expected}"):
        load_listeners(str(table(tmp_path / "l.csv", rows)), "")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "no column listener, ear, frequency, level; expected the columns"),
        (b"listener,ear,250,500\nL1,left,20,20", "no column frequency, level"),
        (b"listener,ear,frequency,level,level\n", "two columns are called level"),
        ("listener;ear;frequency;level\nMüller".encode("latin-1"), 'is not UTF-8: export it as "CSV UTF-8"'),
        ("listener,ear\n".encode("utf-16"), "is not UTF-8"),
        (b'listener,ear,frequency,level\n"L1', "is not a table"),
        (b'listener,ear,frequency,level\n"' + b"x" * 200_000 + b'"', "is not a table"),
        (b"PK\x03\x04 a workbook", "no column listener"),
        (b"listener,ear,frequency,level\nL1,left,250,\x0020", "row 2: the level is"),
    ],
)
def test_what_is_no_table(content: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_bytes(content)
    with pytest.raises(DataError, match=rf"l\.csv.*{expected}"):
        load_listeners(str(tmp_path / "l.csv"), "")


def test_files_that_are_not_there_or_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file .*l\.csv"):
        load_listeners(str(tmp_path / "l.csv"), "")
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(DataError, match=r"d\.csv is not a regular file"):
        load_listeners(str(tmp_path / "d.csv"), "")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda record: record.__setitem__("name", "L2"), "L1.name is 'L2', expected 'L1': name and key must agree"),
        (lambda record: record.pop("name"), "L1.name: Field required"),
        (lambda record: record["audiogram_levels_l"].pop(), "audiogram_levels_l has 5 levels for 6 frequencies"),
        (lambda record: record["audiogram_levels_l"].__setitem__(0, 500), "L1.audiogram_levels_l.0: Input should be"),
        (lambda record: record["audiogram_cfs"].__setitem__(0, 125), "lacks 250 Hz"),
    ],
)
def test_the_official_form_is_checked(change: Any, expected: str, tmp_path: Path) -> None:
    record = {
        "name": "L1",
        "audiogram_cfs": list(FREQUENCIES),
        "audiogram_levels_l": [20] * 6,
        "audiogram_levels_r": [20] * 6,
    }
    change(record)
    (tmp_path / "l.json").write_text(json.dumps({"L1": record}))
    with pytest.raises(DataError, match=expected):
        load_listeners(str(tmp_path / "l.json"), "")
    (tmp_path / "l.json").write_text("{}")
    with pytest.raises(DataError, match="holds no listener"):
        load_listeners(str(tmp_path / "l.json"), "")
