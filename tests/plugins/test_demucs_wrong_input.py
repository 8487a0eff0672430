"""Models, files, devices and options that `demucs` cannot use are refused in one line."""

import shutil
import sys
from pathlib import Path

import pytest
import torch
from checkpoints import SOURCES, save_demucs_model, seeded, time_domain, write_bag
from separating import loaded_demucs, music, separated

from harness.errors import UsageError
from harness.systems import SystemFailure, WeightsMissing, parse_options
from harness_plugins.demucs import Demucs

# ---- models and their files -----------------------------------------------------------------------------


def test_unknown_model() -> None:
    with pytest.raises(SystemFailure, match=r"demucs publishes no such model.*htdemucs_ft.*repo=DIR"):
        Demucs(model="mdy")


def test_unknown_model_in_a_folder(repo: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"no model mdx in it.*found: aaaaaaaa, .*tiny"):
        Demucs(repo=repo, model="mdx")


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(SystemFailure, match="no such folder"):
        Demucs(repo=tmp_path / "nowhere")


def test_bag_with_a_missing_checkpoint(tmp_path: Path) -> None:
    write_bag(tmp_path, "bag", ["aaaaaaaa", "bbbbbbbb"])
    with pytest.raises(WeightsMissing, match=r"bag\.yaml needs aaaaaaaa-CHECKSUM\.th, bbbbbbbb-CHECKSUM\.th"):
        Demucs(repo=tmp_path, model="bag")


@pytest.mark.parametrize("content", ["models: aaaa", "models: [12]", "- a list", ": :\n\t", "models: []"])
def test_malformed_bag(tmp_path: Path, content: str) -> None:
    (tmp_path / "bag.yaml").write_text(content)
    with pytest.raises(SystemFailure, match=r"bag\.yaml"):
        Demucs(repo=tmp_path, model="bag")


def test_two_checkpoints_of_one_signature(repo: Path, tmp_path: Path) -> None:
    own = next(repo.glob("dddddddd*"))
    shutil.copy(own, tmp_path / "dddddddd.th")
    shutil.copy(own, tmp_path / "dddddddd-12345678.th")
    with pytest.raises(SystemFailure, match="two checkpoints dddddddd"):
        Demucs(repo=tmp_path, model="dddddddd")


def test_wrong_checksum(repo: Path, tmp_path: Path) -> None:
    shutil.copy(next(repo.glob("aaaaaaaa*")), tmp_path / "aaaaaaaa-01234567.th")
    with pytest.raises(SystemFailure, match="Invalid checksum"):
        loaded_demucs(tmp_path, "aaaaaaaa")


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_damaged_checkpoint(repo: Path, tmp_path: Path, content: bytes | None) -> None:
    if content is None:
        whole = next(repo.glob("aaaaaaaa*")).read_bytes()
        content = whole[: len(whole) // 2]
    (tmp_path / "broken.th").write_bytes(content)
    with pytest.raises(SystemFailure, match=r"cannot be loaded.*is it damaged") as caught:
        loaded_demucs(tmp_path, "broken")
    assert "\n" not in str(caught.value)


def test_not_a_demucs_checkpoint(tmp_path: Path) -> None:
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.th")
    with pytest.raises(SystemFailure, match="not a demucs checkpoint"):
        loaded_demucs(tmp_path, "other")


def test_bag_of_models_that_do_not_fit(tmp_path: Path) -> None:
    save_demucs_model(tmp_path, "a", seeded(time_domain))
    save_demucs_model(tmp_path, "b", seeded(lambda: time_domain(SOURCES[::-1])))
    write_bag(tmp_path, "bag", ["a", "b"])
    with pytest.raises(SystemFailure, match="cannot be loaded"):
        loaded_demucs(tmp_path, "bag")


def test_bag_without_weight_for_a_source(tmp_path: Path) -> None:
    save_demucs_model(tmp_path, "a", seeded(time_domain))
    write_bag(tmp_path, "bag", ["a"], weights=[[1, 0, 1, 1]])
    with pytest.raises(SystemFailure, match="weights for bass add up to 0"):
        loaded_demucs(tmp_path, "bag")


def test_model_that_lacks_a_stem(tmp_path: Path) -> None:
    save_demucs_model(tmp_path, "two", seeded(lambda: time_domain(("vocals", "other"))))
    with pytest.raises(SystemFailure, match="separates into vocals, other; expected vocals, drums, bass, other"):
        loaded_demucs(tmp_path, "two")


def test_mono_model(tmp_path: Path) -> None:
    save_demucs_model(tmp_path, "mono", seeded(lambda: time_domain(audio_channels=1)))
    with pytest.raises(SystemFailure, match="expected stereo"):
        loaded_demucs(tmp_path, "mono")


# ---- devices and options --------------------------------------------------------------------------------


def test_segment_longer_than_a_transformer_takes(repo: Path) -> None:
    with pytest.raises(SystemFailure, match=r"segment=2: model cccccccc takes at most 0\.8 seconds"):
        loaded_demucs(repo, "cccccccc", segment=2.0)
    separated(loaded_demucs(repo, "cccccccc", segment=0.6), music(1.0))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_device_that_is_not_here(repo: Path) -> None:
    with pytest.raises(SystemFailure, match="option device=cuda: not usable here"):
        loaded_demucs(repo, device="cuda")


@pytest.mark.parametrize("device", ["gpu", "meta", ""])
def test_device_that_does_not_exist(repo: Path, device: str) -> None:
    with pytest.raises(SystemFailure, match="not usable here"):
        loaded_demucs(repo, device=device)


def test_quantized_models_need_diffq(no_weights: Path) -> None:
    try:
        import diffq  # noqa: F401
    except ImportError:
        with pytest.raises(SystemFailure, match=r"pip install 'demucs\[quantized\]'"):
            Demucs(model="mdx_q").load()
    else:
        pytest.skip("diffq is installed")


def test_quantized_checkpoint_needs_diffq(tmp_path: Path) -> None:
    pytest.importorskip("demucs")
    if "diffq" in sys.modules:
        pytest.skip("diffq is installed")
    model = seeded(time_domain)
    args, kwargs = model._init_args_kwargs
    state = {"__quantized": True}
    torch.save({"klass": type(model), "args": args, "kwargs": kwargs, "state": state}, tmp_path / "q.th")
    with pytest.raises(SystemFailure, match=r"pip install 'demucs\[quantized\]'"):
        loaded_demucs(tmp_path, "q")


@pytest.mark.parametrize(
    "pair",
    ["overlap=1", "overlap=-0.1", "overlap=nan", "shifts=21", "shifts=1.5", "segment=0", "training=mine", "a=b"],
)
def test_bad_options(pair: str) -> None:
    with pytest.raises(UsageError):
        parse_options(Demucs, [pair])
