"""Parts of an evaluation set: together they are the whole, and none has far more to do than another."""

import pytest
import soundfile

from harness.errors import UsageError
from harness.music import parts
from harness.music.evaluationset import EvaluationSet, Scene
from harness.music.layout import load
from harness.music.parts import Part, part_of


@pytest.fixture
def many(tiny_set, monkeypatch):
    """60 scenes of 50 pieces of music, of 1 to 50 s, with 2 listeners each; nothing of it lies on a disk."""
    (scene, *_) = load(tiny_set.root, "valid", "tiny").scenes
    monkeypatch.setattr(Scene, "frames", property(lambda self: 44_100 * int(self.folder.name)))
    scenes = tuple(
        Scene(
            f"scene_{number}",
            "song",
            "track",
            scene.gains,
            scene.listeners,
            scene.folder.with_name(str(number % 50 + 1)),
        )
        for number in range(60)
    )
    return EvaluationSet("many", "valid", scenes, scenes)


@pytest.mark.parametrize("count", [1, 2, 7, 50])
def test_parts_are_disjoint_and_together_the_whole(many, count):
    shares = [part_of(many, Part(number, count)) for number in range(1, count + 1)]
    assert sorted(scene.id for share in shares for scene in share.scenes) == sorted(scene.id for scene in many.scenes)
    assert all(share.whole == many.whole for share in shares)
    # A system is run once for each piece of music.
    for share in shares:
        ours = {scene.folder for scene in share.scenes}
        assert [scene for scene in many.scenes if scene.folder in ours] == list(share.scenes)


def test_no_part_has_far_more_to_do(many):
    loads = [sum(scene.frames for scene in part_of(many, Part(number, 7)).scenes) for number in range(1, 8)]
    assert max(loads) < 1.05 * min(loads)


def test_a_part_is_one_of_what_is_selected(many):
    few = many.select(["scene_1", "scene_2", "scene_3"])
    found = [part_of(few, Part(number, 3)).scenes for number in (1, 2, 3)]
    assert sorted(scene.id for (scene,) in found) == ["scene_1", "scene_2", "scene_3"]
    with pytest.raises(UsageError, match=r"--part 4/4: nothing is left for this part of 3 pieces of music"):
        part_of(few, Part(4, 4))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("3", "expected I/N, such as 3/96"),
        ("a/b", "expected I/N"),
        ("-1/4", "expected I/N"),
        ("0/4", r"parts are numbered from 1 to 4 \(sbatch --array=1-4\)"),
        ("5/4", "numbered from 1 to 4"),
        ("1/0", "there can be 1 to 100000 parts"),
    ],
)
def test_what_is_no_part_is_said(text, said):
    with pytest.raises(UsageError, match=said):
        Part.parse(text)
    assert str(Part.parse(" 3/96")) == "3/96"


def test_through_the_command_line(run_cli, tiny_set, tmp_path):
    """Two parts into two leaderboards, which are then merged, give what one command gives."""
    for part in ("1/2", "2/2"):
        made = run_cli("enhance", "--system", "passthrough", *tiny_set.args, "--output", "made", "--part", part)
        assert made.code == 0, made.stderr
        number = part[0]
        options = ("--engine", "fast", "--workers", "1", "--part", part, "--db", f"{number}.db", "--json")
        scored = run_cli("score", "made", *tiny_set.args, *options)
        assert scored.code == 0, scored.stderr
        assert len(scored.json["scores"]) == 2
    for number in ("1", "2", "2"):
        assert run_cli("runs", "import", f"{number}.db", "--reason", "a part").code == 0
    (merged,) = run_cli("leaderboard", "--json").json
    whole = run_cli("score", "made", *tiny_set.args, "--engine", "fast", "--workers", "1", "--db", "whole.db")
    assert whole.code == 0, whole.stderr
    (unsplit,) = run_cli("leaderboard", "--db", "whole.db", "--json").json
    assert merged["scored"] == unsplit["scored"] == 4
    assert merged["mean"] == pytest.approx(unsplit["mean"], abs=1e-9)
    assert run_cli("enhance", "--system", "passthrough", *tiny_set.args, "--part", "3/3").code == 2
    assert soundfile.info(tmp_path / "made" / tiny_set.names[0]).samplerate == 32_000
    assert parts.MAX_PARTS >= 960
