"""What `demucs` says its weights were trained on, and whether they may be ranked: published ones and one's own."""

import shutil
from pathlib import Path

import pytest
from checkpoints import write_bag

from harness.systems import TRAINING_DATA, SystemFailure
from harness_plugins.demucs import PUBLISHED, WORST_FIRST, Demucs, catalogue
from harness_plugins.torch_support import DECLARABLE


def test_every_model_that_demucs_publishes_is_labelled() -> None:
    assert set(PUBLISHED) == set(catalogue().bags)
    assert set(PUBLISHED.values()) <= set(TRAINING_DATA)
    assert {point.model for point in catalogue().checkpoints.values()} <= set(PUBLISHED)


def test_every_label_that_weights_can_have_has_its_place() -> None:
    assert set(WORST_FIRST) == set(TRAINING_DATA) - {"none"} == {*DECLARABLE, "unknown"}


@pytest.mark.parametrize(
    ("model", "training_data", "reason"),
    [
        ("mdx", "official", None),
        ("mdx_q", "official", None),
        ("repro_mdx_a", "official", None),
        ("0d19c1c6", "official", None),
        ("hf://mdx", "official", None),
        ("hf://adefossez/mdx", "official", None),
        ("htdemucs", "private", "htdemucs was trained on 800 songs outside the challenge's data"),
        ("hdemucs_mmi", "private", "hdemucs_mmi was trained on 800 songs outside the challenge's data"),
        ("955717e8", "private", "checkpoint 955717e8 of htdemucs was trained on 800 songs"),
        ("hf://htdemucs_ft", "private", "800 songs"),
        ("mdx_extra", "evaluation data", "mdx_extra was trained on MUSDB18's test set"),
        ("mdx_extra_q", "evaluation data", "mdx_extra_q was trained on MUSDB18's test set"),
        ("e51eebcc", "evaluation data", "test set"),
        ("hf://somebody/mdx", "unknown", "not declared (--option training=...)"),
    ],
)
def test_published_models_are_judged_before_loading(model: str, training_data: str, reason: str | None) -> None:
    system = Demucs(model=model)
    assert system.training_data == training_data
    if reason is None:
        assert system.not_eligible is None
    else:
        assert system.not_eligible is not None
        assert reason in system.not_eligible


def test_published_models_cannot_be_relabelled() -> None:
    with pytest.raises(SystemFailure, match=r"htdemucs is no model of your own.*\(private\)"):
        Demucs(model="htdemucs", training="official")
    assert Demucs(model="htdemucs", training="private").not_eligible


def test_local_models_are_what_is_declared(repo: Path) -> None:
    undeclared = Demucs(repo=repo, model="tiny")
    assert undeclared.training_data == "unknown"
    assert "not declared" in str(undeclared.not_eligible)
    assert undeclared.licence == "unknown"
    assert Demucs(repo=repo, model="tiny", training="official + augmentation").not_eligible is None
    assert "declared as trained on private data" in str(
        Demucs(repo=repo, model="tiny", training="private").not_eligible
    )


def test_local_copies_of_published_files_keep_their_label(tmp_path: Path) -> None:
    for signature in ("0d19c1c6", "955717e8"):
        (tmp_path / catalogue().checkpoints[signature].file).touch()
    assert Demucs(repo=tmp_path, model="0d19c1c6").training_data == "official"
    write_bag(tmp_path, "mixed", ["0d19c1c6", "955717e8"])
    mixed = Demucs(repo=tmp_path, model="mixed")
    assert mixed.training_data == "private"
    assert "checkpoint 955717e8 of htdemucs" in str(mixed.not_eligible)
    with pytest.raises(SystemFailure, match="its training data is known"):
        Demucs(repo=tmp_path, model="mixed", training="official")
    # The label rests on the checksum, which demucs verifies: an empty file is not that model.
    with pytest.raises(SystemFailure, match="Invalid checksum"):
        Demucs(repo=tmp_path, model="0d19c1c6").load()


def test_a_published_name_alone_proves_nothing(repo: Path, tmp_path: Path) -> None:
    own = next(repo.glob("dddddddd*"))
    shutil.copy(own, tmp_path / "0d19c1c6.th")
    shutil.copy(own, tmp_path / "7ecf8ec1-00000000.th")
    write_bag(tmp_path, "mdx", ["0d19c1c6", "7ecf8ec1"])
    assert Demucs(repo=tmp_path, model="mdx").training_data == "unknown"
    assert Demucs(repo=tmp_path, model="0d19c1c6").training_data == "unknown"


def test_a_declaration_covers_only_what_is_not_published(repo: Path, tmp_path: Path) -> None:
    shutil.copy(next(repo.glob("dddddddd*")), tmp_path)
    (tmp_path / catalogue().checkpoints["955717e8"].file).touch()
    write_bag(tmp_path, "mixed", ["dddddddd", "955717e8"])
    assert Demucs(repo=tmp_path, model="mixed", training="official").training_data == "private"
