"""Enhancement by the workers of a cluster: a real one of Dask on this machine, and what a worker elsewhere may lack."""

import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from making.made import content
from support import Outcome, RunCli, TinySet

from harness.apart.output import Output
from harness.apart.process import Terms
from harness.apart.running import Apart, Wanted
from harness.errors import HarnessError, StorageError
from harness.making import remote
from harness.making.make import loaded_manifest
from harness.making.pieces import pieces_of
from harness.making.remote import MakeTask, Recipe, make_pieces, recipe_of
from harness.music.layout import load

Write = Callable[..., Path]
STEMS = "def separate(self, mixture, sample_rate):\n    "
QUARTERS = "return dict.fromkeys(STEMS, mixture / 4)"


class TestDask:
    @pytest.fixture(autouse=True)
    def extra(self) -> None:
        pytest.importorskip("distributed")
        pytest.importorskip("cryptography")

    @pytest.fixture
    def enhance(self, run_cli: RunCli, tiny_set: TinySet, plugin: Write) -> Callable[..., Outcome]:
        def run(body: str, *args: object) -> Outcome:
            # Relative, as users name things: a worker is where the command was started, if it sees that.
            path = plugin(body).name
            return run_cli("enhance", "--system", "probe", "--plugin", path, "--data", "tiny", "--json", *args)

        return run

    def test_a_cluster_makes_the_same_files_and_a_task_that_kills_its_workers_fails_alone(
        self, enhance: Callable[..., Outcome], run_cli: RunCli, tiny_set: TinySet, tmp_path: Path
    ) -> None:
        body = (
            STEMS
            + "import os, signal\n    print('at work')\n    if os.path.exists('kill') and mixture.std() > LIMIT:\n"
            "        os.kill(os.getppid(), signal.SIGKILL)\n        __import__('time').sleep(60)\n"
            f"    {QUARTERS}"
        )
        loudness = sorted(scene.read("mixture").std() for scene in load(tiny_set.root).scenes)
        body = body.replace("LIMIT", str(sum(loudness) / 2))
        assert enhance(body, "--output", "here").code == 0
        there = enhance(body, "--output", "there", "--cluster", "local", "--workers", 1)
        assert (there.code, there.json["made"]) == (0, 4), there.stderr
        assert content(tmp_path / "there") == content(tmp_path / "here")
        assert list(tmp_path.glob(".partial-harness-*")) == []
        log = tmp_path / f"there.{socket.gethostname()}.log"
        assert log.read_text().count("at work") == 2
        assert f"what probe printed, and its exceptions: {log}" in there.stderr.replace("\n", "")

        (tmp_path / "kill").touch()
        killed = enhance(body, "--output", "killed", "--cluster", "local", "--workers", 1)
        assert (killed.code, killed.json["made"]) == (1, 2), killed.stderr
        reasons = {each["reason"] for each in killed.json["failures"]}
        assert len(killed.json["failures"]) == 2
        assert all(reason.startswith("system probe: its worker process") for reason in reasons), reasons
        (tmp_path / "kill").unlink()
        again = enhance(body, "--output", "killed")
        assert (again.code, again.json["made"], again.json["kept"]) == (0, 2, 2)
        assert content(tmp_path / "killed") == content(tmp_path / "here")


@pytest.mark.parametrize(
    ("where", "expected"), [("slrum", "expected slurm, local, "), ("tcp://127.0.0.1:9", "no Dask ")]
)
def test_nothing_is_removed_for_a_cluster_that_is_not_there(
    where: str, expected: str, run_cli: RunCli, tiny_set: TinySet, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = pytest.importorskip("harness.compute.cluster.opening")
    pytest.importorskip("distributed")
    monkeypatch.setattr(opening, "CONNECT_SECONDS", 1)
    command = ("enhance", "--system", "passthrough", *tiny_set.args, "--output", "made")
    assert run_cli(*command).code == 0
    before = content(Path("made"))
    again = run_cli(*command, "--overwrite", "always", "--cluster", where)
    assert again.code in (1, 2)
    assert expected in again.error
    assert content(Path("made")) == before
    assert not list(Path().glob(".partial-harness-*"))


# What a worker elsewhere may lack


@pytest.fixture
def task(tiny_set: TinySet, plugin: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., MakeTask]:
    """A task for a system with this class body, as another machine would get it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(remote, "_opened", None)

    def make(body: str = STEMS + QUARTERS) -> MakeTask:
        found = load(tiny_set.root)
        running = Apart(Wanted("probe", plugins=(plugin(body).name,)), Terms(), Output())
        try:
            running.start()
            manifest = loaded_manifest(running, running.find().kind, found, soft_clip=False)
        finally:
            running.close()
        staging = tmp_path / "beside" / "whole" / "0123"
        staging.mkdir(parents=True)
        recipe: Recipe = recipe_of(running, manifest, staging, tmp_path / "made.log", 1, far=True)
        return MakeTask(recipe, tuple(pieces_of(found.pairs, found.hashes(["mixture"]), true_stems=False)))

    return make


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """What a worker keeps open ends with the test."""
    yield
    if remote._opened is not None:
        remote._opened.close()


def test_a_worker_writes_each_file_under_its_hash(task: Callable[..., MakeTask], tiny_set: TinySet) -> None:
    given = task()
    one, two = make_pieces(given), make_pieces(given)
    assert sorted(one.files) == sorted(two.files) == tiny_set.names
    for name in tiny_set.names:
        (staged, record), (again, same) = one.files[name], two.files[name]
        assert staged.startswith(record.sha256)
        assert (staged != again, record == same) == (True, True)
    assert len(list(given.recipe.staging.iterdir())) == 8


def refused(task: MakeTask) -> str:
    with pytest.raises(HarnessError) as error:
        make_pieces(task)
    assert str(error.value).startswith(socket.gethostname())
    return str(error.value).removeprefix(socket.gethostname())


def test_a_machine_that_does_not_see_something_says_so(task: Callable[..., MakeTask], tiny_set: TinySet) -> None:
    given = task()
    shared = "it must lie on a file system that all nodes share, at the same path"
    audio = tiny_set.root / "audio"
    audio.rename(tiny_set.root / "elsewhere")
    assert refused(given) == f" does not see {given.pieces[0].scene.folder}: {shared}"
    (tiny_set.root / "elsewhere").rename(audio)
    Path("plugin.py").rename("other.py")
    assert refused(given) == f": does not see the plugin {Path('plugin.py').absolute()}: {shared}"
    Path("other.py").rename("plugin.py")
    given.recipe.staging.rmdir()
    assert "does not see" in refused(given)
    given.recipe.staging.mkdir()
    assert make_pieces(given).failures == {}


def test_a_system_that_is_another_one_there_is_refused(task: Callable[..., MakeTask]) -> None:
    given = task()
    path = Path("plugin.py")
    path.write_text(path.read_text() + "\n# another\n")
    assert "declares something else than in the main process (code_files, code_sha256)" in refused(given)


def test_music_that_was_changed_is_its_pairs_reason(task: Callable[..., MakeTask], tiny_set: TinySet) -> None:
    given = task()
    path = tiny_set.music("mixture", "scene_V001")
    path.write_bytes(path.read_bytes()[:-400])
    made = make_pieces(given)
    assert sorted(made.files) == tiny_set.names[2:]
    assert {reason for reason in made.failures.values() if "was changed while we worked" in reason}
    assert set(made.failures) == {("scene_V001", "V1"), ("scene_V001", "V2")}


def test_a_system_is_kept_for_the_next_task_and_closed_when_nobody_wants_it(
    task: Callable[..., MakeTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "LOOK_SECONDS", 0.05)
    given = task("def load(self):\n    open('loads', 'a').write('x')\n" + STEMS + QUARTERS)
    Path("loads").unlink()
    make_pieces(given)
    make_pieces(given)
    assert Path("loads").read_text() == "x"
    opened = remote._opened
    assert opened is not None
    given.recipe.staging.rename("gone")
    assert opened._closed.wait(60)


def test_a_system_that_cannot_be_opened_leaves_no_closed_one_in_its_place(
    task: Callable[..., MakeTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = task()
    make_pieces(given)
    first = remote._opened
    with monkeypatch.context() as patch:
        patch.setattr(remote, "_Opened", lambda _recipe: (_ for _ in ()).throw(HarnessError("no weights")))
        with pytest.raises(HarnessError, match="no weights"):
            make_pieces(replace(given, recipe=replace(given.recipe, threads=9)))
    make_pieces(given)
    assert remote._opened not in (first, None)


def test_what_nobody_wants_any_more_is_not_written(task: Callable[..., MakeTask]) -> None:
    given = task()
    make_pieces(given)
    given.recipe.staging.rename("gone")
    with pytest.raises(StorageError, match="who wanted these files has ended"):
        make_pieces(given)
    assert not given.recipe.staging.exists()
