"""The first challenge through the command line: the same commands, eight stems for each song and listener."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import SONGS, Outcome, RunCli, TinySet, TinySongs

import harness
from harness.challenge import CAD1
from harness.haaqi import lock
from harness.listening import check_remix, sounds_of
from harness.music.layout import load

STEM = CAD1.stem_name(SONGS[0], "V1", "left_vocals")
SCALE = CAD1.scale_name(SONGS[0], "V1", "left_vocals")


@pytest.fixture
def run_songs(run_cli: RunCli, tiny_songs: TinySongs) -> Callable[..., Outcome]:
    """`run_songs(command, *args)`: with the tiny songs as --data, and the fast engine where something is scored."""

    def run(command: str, *args: object) -> Outcome:
        engine = ("--engine", "fast", "--workers", "1") if command in ("run", "score") else ()
        return run_cli(command, *args, *tiny_songs.args, *engine)

    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_system_is_run_judged_scored_and_ranked(run_songs: Any, run_cli: RunCli, tiny_songs: TinySongs) -> None:
    for system in ("centre", "oracle"):
        outcome = run_songs("run", "--system", system)
        assert outcome.code == 0, outcome.stderr
        assert f"submissions/{system}: 4 sets of stems written, 0 were there already" in outcome.stderr
    assert sorted(contents(Path("submissions/centre"))) == sorted([*tiny_songs.names, "submission.json"])
    assert run_songs("validate", "submissions").stdout.endswith("2 valid, 0 not\n")

    scored = run_songs("score", "submissions/oracle", "--json")
    assert scored.code == 0, scored.stderr
    assert "4 pairs are scored already" in scored.stderr
    result = scored.json
    assert result["evaluator"] == lock.fingerprint(CAD1)
    assert [(row["song"], row["listener"]) for row in result["scores"]] == tiny_songs.pairs
    for row in result["scores"]:
        stems = [row[signal] for signal in CAD1.signals]
        assert row["score"] == pytest.approx(sum(stems) / 8, abs=1e-12)

    centre, oracle = sorted(run_cli("leaderboard", "--json").json, key=lambda row: row["system"])
    assert (centre["rank"], oracle["rank"]) == (1, None)
    assert oracle["mean"] > centre["mean"] + 0.3
    assert oracle["mean"] == pytest.approx(result["mean"], abs=1e-12)

    shown = run_cli("runs", "show", "centre", "--json").json
    assert shown["evaluator"] == lock.fingerprint(CAD1)
    assert {(pair["scene"], pair["listener"]) for pair in shown["pairs"]} == set(tiny_songs.pairs)


def test_a_run_is_scored_again_and_audited(run_songs: Any, run_cli: RunCli, stems: Path, tiny_songs: TinySongs) -> None:
    assert run_songs("score", stems).code == 0
    audit = run_cli("runs", "audit", "1", *tiny_songs.args, "--sample", 1, "--json")
    assert (audit.code, audit.json["passed"]) == (0, True)
    (stems / SCALE).write_text("0.01")
    again = run_cli("runs", "rescore", "1", *tiny_songs.args, "--engine", "fast", "--reason", "to see")
    assert again.code == 2
    assert (
        f"1 of its pairs have files that are missing in {stems} or have changed, those of {SONGS[0]} for V1"
        in again.error
    )
    # As a submission of its own it is another run, or the same one declared anew.
    assert run_songs("score", stems, "--json").code == 1
    (stems / "submission.json").unlink()
    other = run_songs("score", stems, "--json").json
    assert other["run"] == 2
    assert len(other["scores"]) == 4


def test_pages_with_sound(run_songs: Any, run_cli: RunCli, tiny_songs: TinySongs) -> None:
    for system in ("centre", "oracle"):
        assert run_songs("run", "--system", system).code == 0
    outcome = run_cli("report", *tiny_songs.args, "--audio", 2, "--output", "pages")
    assert outcome.code == 0, outcome.stderr
    pages = [path.read_text() for path in Path("pages/pairs").glob("*.html")]
    assert len(pages) == 4
    heard = [page for page in pages if 'class="player"' in page]
    assert len(heard) == 2
    for page in heard:
        assert "the sum of the true stems, amplified by NAL-R" in page
        assert page.count("a remix has no score; of its stems: HAAQI 0.") == 2
        assert "Gains asked for" not in page
    assert any("Vektor [red] &amp; Söhne, 2 for V1" in page for page in pages)


def test_sounds_are_of_what_was_scored(stems: Path, tiny_songs: TinySongs) -> None:
    from harness.errors import SubmissionError
    from harness.submission.protocols import form_of

    tiny_songs.cut(0.1, 0.55)
    pair = load(tiny_songs.root).pairs[0]
    path = stems / pair.remix_name
    with pytest.raises(SubmissionError, match="samples, expected 14400 to"):  # the whole song, not its segment
        check_remix(path, pair)
    tiny_songs.metadata("musdb18.segments").unlink()
    pair = load(tiny_songs.root).pairs[0]
    known = form_of(CAD1).read(stems, pair).sha256
    check_remix(path, pair, known)
    sounds = sounds_of(pair, {"centre": path}, hashes={path: known}, lossless=True)
    assert [sound.name for sound in sounds] == ["reference", "mixture", "centre"]
    (stems / SCALE).write_text("0.01")
    with pytest.raises(SubmissionError, match="what was submitted for Vector One and V1 has changed"):
        check_remix(path, pair, known)
    (stems / STEM).unlink()
    with pytest.raises(SubmissionError, match=r"left_vocals\.flac is gone"):
        check_remix(path, pair, known)


def test_what_is_made_is_the_same_again(run_songs: Any) -> None:
    assert run_songs("enhance", "--system", "centre").code == 0
    folder = Path("submissions/centre")
    whole = contents(folder)
    # What is missing or damaged is made again with all of its pair; what is there stays.
    (folder / SCALE).unlink()
    (folder / CAD1.remix_name(SONGS[1], "V2")).write_bytes(b"fLaC")
    stays = folder / CAD1.remix_name(SONGS[1], "V1")
    before = stays.stat().st_mtime_ns
    outcome = run_songs("enhance", "--system", "centre", "--json")
    assert (outcome.code, outcome.json["made"], outcome.json["kept"]) == (0, 2, 2)
    assert {name: content for name, content in contents(folder).items() if name != "submission.json"} == {
        name: content for name, content in whole.items() if name != "submission.json"
    }
    assert stays.stat().st_mtime_ns == before
    never = run_songs("enhance", "--system", "centre", "--overwrite", "never")
    assert (never.code, "choose another --output" in never.error) == (1, True)
    always = run_songs("enhance", "--system", "centre", "--overwrite", "always", "--json")
    assert (always.json["made"], always.json["kept"]) == (4, 0)


def test_files_of_another_system_or_of_nobody_are_not_touched(run_songs: Any, stems: Path) -> None:
    other = run_songs("enhance", "--system", "oracle", "--output", stems)
    assert (other.code, "was made by another system" in other.error) == (1, True)
    (stems / "submission.json").unlink()
    unknown = run_songs("enhance", "--system", "centre", "--output", stems)
    assert (unknown.code, "holds files of unknown origin (no submission.json)" in unknown.error) == (1, True)


def test_nothing_is_written_through_a_link(run_songs: Any, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "V1").symlink_to(tmp_path / "elsewhere")
    outcome = run_songs("enhance", "--system", "centre", "--output", "out")
    assert (outcome.code, "out/V1 is a link" in outcome.error) == (1, True)
    assert not list((tmp_path / "elsewhere").iterdir())
    (tmp_path / "out" / "V1").unlink()
    (tmp_path / "out" / "V1").touch()
    outcome = run_songs("enhance", "--system", "centre", "--output", "out")
    assert (outcome.code, "cannot write out/V1/" in outcome.error) == (1, True)


def test_a_part_of_the_songs(run_songs: Any) -> None:
    """A song's name may hold commas, as one in the challenge's own set does."""
    outcome = run_songs("enhance", "--system", "centre", "--scenes", SONGS[1], "--json")
    assert (outcome.code, outcome.json["made"]) == (0, 2)
    both = run_songs("enhance", "--system", "centre", "--scenes", f"{SONGS[1]}, {SONGS[0]}", "--json")
    assert (both.code, both.json["made"], both.json["kept"]) == (0, 2, 2)
    unknown = run_songs("enhance", "--system", "centre", "--scenes", "Vector One,Vektor")
    assert (unknown.code, "no scene Vektor in songs" in unknown.error) == (2, True)
    assert run_songs("validate", "submissions/centre", "--limit", 1).code == 0


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("--system", "passthrough"), "eight stems are scored, and this system is an Enhancer, which returns a remix"),
        (("--system", "centre", "--chain", "live"), "stems are scored, and no remix, so there is no live chain"),
        (("--system", "centre", "--soft-clip"), "every remix is passed through tanh: leave out --soft-clip"),
        (("--system", "centre", "--protocol", "cad_icassp_2024"), "metadata/ lacks scenes.<split>.json"),
        (("--system", "centre", "--split", "test"), "metadata/musdb18.test.json"),
    ],
)
def test_what_this_challenge_has_no_place_for(args: tuple[str, ...], why: str, run_songs: Any) -> None:
    outcome = run_songs("run", *args)
    assert outcome.code in (1, 2)
    assert why in outcome.error
    assert not Path("submissions").exists()


def test_both_protocols_on_one_split(run_cli: RunCli, tiny_songs: TinySongs, tiny_set: TinySet) -> None:
    """Scenes in headphone form and their songs: --protocol says which of the two is meant, and they never mix."""
    shutil.copytree(tiny_songs.root / "audio", tiny_set.root / "audio", dirs_exist_ok=True)
    headphones = [{"Track Name": "Vector Two", "Split": "valid"}]
    songs = json.loads(tiny_songs.metadata("musdb18").read_text())
    tiny_set.metadata("musdb18").write_text(json.dumps([*songs, *headphones]))
    shutil.copytree(tiny_songs.music().parent, tiny_songs.music(song="Vector Two").parent)
    shutil.copytree(tiny_songs.music().parent, tiny_set.root / "audio" / "musdb18hq" / "train" / "Vector Two")

    def enhance(*args: object) -> Outcome:
        return run_cli("enhance", "--system", "centre", *tiny_set.args, "--json", *args)

    scenes, stems = enhance(), enhance("--protocol", "cad1", "--output", "stems")
    assert (scenes.code, scenes.json["made"]) == (0, 4)
    assert (stems.code, stems.json["made"]) == (0, 6)
    assert scenes.json["evaluation_set"] != stems.json["evaluation_set"]
    assert run_cli("validate", "stems", *tiny_set.args, "--protocol", "cad1").code == 0
    mixed = run_cli("validate", "stems", *tiny_set.args)
    assert mixed.code == 1
    assert "is for the evaluation set tiny, split valid (" in mixed.stdout
    assert enhance("--output", "stems").code == 1
    assert run_cli("validate", "stems", *tiny_set.args, "--protocol", "cad2").code == 2


def test_what_is_for_a_set_that_is_not_named(run_cli: RunCli, stems: Path) -> None:
    outcome = run_cli("validate", stems)
    assert outcome.code == 2
    assert "is for the evaluation set songs: say where that lies with --data ROOT --split valid" in outcome.stdout
    manifest = json.loads((stems / "submission.json").read_text())
    manifest["evaluation_set"]["name"] = "demo-cad1"
    (stems / "submission.json").write_text(json.dumps(manifest))
    assert "demo-cad1: say so with --data demo-cad1" in run_cli("validate", stems).stdout


def test_causality_is_measured_on_songs_too(run_cli: RunCli, tiny_songs: TinySongs) -> None:
    args = ("audit-causality", *tiny_songs.args, "--seconds", 1)
    assert run_cli(*args, "--system", "live", "--json").json["verdict"] == "causal"
    chain = run_cli(*args, "--system", "live", "--chain", "live")
    assert (chain.code, "where nothing follows a system's stems but NAL-R" in chain.error) == (2, True)


def test_a_system_that_fails_on_a_song(run_songs: Any, plugin: Callable[..., Path]) -> None:
    path = plugin(
        """
        calls = 0

        def separate(self, mixture, sample_rate):
            self.calls += 1
            if self.calls == 2:
                raise RuntimeError("no such music")
            return {stem: mixture / 4 for stem in STEMS}
        """
    )
    outcome = run_songs("run", "--system", "probe", "--plugin", path)
    assert outcome.code == 1
    assert f"failed: {SONGS[1]} V1: system probe" in outcome.stderr
    assert "2 of 4 pairs" in outcome.stderr
    assert not Path("submissions/probe", "V1", SONGS[1]).exists()


def test_functions_of_a_notebook(run_cli: RunCli, tiny_songs: TinySongs) -> None:
    """A function is evaluated; what is about one remix refuses songs."""
    results = harness.evaluate(
        lambda mixture, rate: dict.fromkeys(harness.STEMS, mixture / 4), tiny_songs.root, workers=1
    )
    assert list(results.pairs["state"]) == ["scored"] * 4
    mixture = load(tiny_songs.root).scenes[0].read("mixture")
    for call in (
        lambda: harness.haaqi(mixture, SONGS[0], "V1", data=tiny_songs.root),
        lambda: harness.remix(dict.fromkeys(harness.STEMS, mixture), SONGS[0], "V1", data=tiny_songs.root),
    ):
        with pytest.raises(harness.errors.UsageError, match="scores eight stems, and this is about a remix"):
            call()


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_where_it_stopped(
    run_songs: Any, tiny_songs: TinySongs, plugin: Callable[..., Path]
) -> None:
    """At whatever point: every file that is there is whole, and in the end they are those of a run in one go."""
    path = plugin(
        """
        def separate(self, mixture, sample_rate):
            import time
            time.sleep(0.5)
            return {stem: mixture / 4 for stem in STEMS}
        """
    )
    command = ["enhance", "--system", "probe", "--plugin", str(path), *tiny_songs.args]
    assert run_songs("enhance", "--system", "probe", "--plugin", path, "--output", "whole").code == 0
    kinds = [signal.SIGINT, signal.SIGKILL, signal.SIGTERM]
    for files, kind in enumerate(kinds):
        # Killed when one more pair's first files are there.
        with subprocess.Popen(
            [sys.executable, "-m", "harness", *command, "--output", "out"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        ) as process:  # fmt: skip
            until = time.monotonic() + 60
            while len(list(Path("out").rglob("*.flac"))) < 3 + 12 * files and process.poll() is None:
                assert time.monotonic() < until
                time.sleep(0.002)
            if process.poll() is None:
                os.killpg(process.pid, kind)
    outcome = run_songs("enhance", "--system", "probe", "--plugin", path, "--output", "out")
    assert outcome.code == 0, outcome.stderr
    made = contents(Path("out"))
    expected = contents(Path("whole"))
    del made["submission.json"], expected["submission.json"]
    assert made == expected
    assert run_songs("validate", "out").code == 0
