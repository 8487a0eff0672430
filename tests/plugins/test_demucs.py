"""The system `demucs`, with small real checkpoints in demucs' own formats."""

import json
import os
import random
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import (
    SOURCES,
    hybrid,
    hybrid_transformer,
    save_demucs_model,
    seeded,
    time_domain,
    write_bag,
    write_demucs_repo,
)

from harness.errors import UsageError
from harness.systems import STEMS, TRAINING_DATA, Signal, SystemFailure, WeightsMissing, parse_options
from harness_plugins.demucs import PUBLISHED, WORST_FIRST, Demucs, catalogue
from harness_plugins.torch_support import DECLARABLE, DEMO_ADVICE

RATE = 44100


def music(seconds: float, seed: int = 0) -> Signal:
    """Stereo noise with a level and an offset of its own."""
    frames = round(seconds * RATE)
    return 0.1 * np.random.default_rng(seed).standard_normal((frames, 2)) + 0.01


def separated(system: Demucs, mixture: Signal) -> dict[str, Signal]:
    stems = dict(system.separate(mixture.copy(), RATE))
    assert list(stems) == list(STEMS)
    for stem in stems.values():
        assert stem.shape == mixture.shape
        assert stem.dtype == np.float64
        assert np.isfinite(stem).all()
    return stems


def loaded(repo: Path, model: str = "tiny", **settings: Any) -> Demucs:
    system = Demucs(repo=repo, model=model, **settings)
    system.load()
    return system


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demucs")
    write_demucs_repo(folder)
    save_demucs_model(folder, "cccccccc", seeded(hybrid_transformer, 3))
    save_demucs_model(folder, "dddddddd", seeded(time_domain, 4), checksum=False)
    return folder


# ---- separation -----------------------------------------------------------------------------------------


def expected_of_demucs(repo: Path, name: str, mixture: Signal, **settings: Any) -> dict[str, Signal]:
    """The stems as demucs and the baseline recipe compute them, written down independently."""
    from demucs.apply import apply_model
    from demucs.pretrained import get_model

    model = get_model(name, repo=repo)
    reference = mixture.T.mean(0)
    normalised = (mixture.T - reference.mean()) / reference.std()
    with torch.no_grad():
        estimate = apply_model(model, torch.tensor(normalised, dtype=torch.float32)[None], **settings)[0]
    sources = estimate.numpy().astype(np.float64) * reference.std() + reference.mean()
    return dict(zip(model.sources, sources.transpose(0, 2, 1), strict=True))


@pytest.mark.parametrize("name", ["tiny", "aaaaaaaa", "cccccccc", "dddddddd"])
def test_separates_as_demucs_does(repo: Path, name: str) -> None:
    mixture = music(1.5)
    expected = expected_of_demucs(repo, name, mixture, shifts=0, overlap=0.25)
    stems = separated(loaded(repo, name), mixture)
    for stem in STEMS:
        assert np.abs(stems[stem]).max() > 1e-4
        np.testing.assert_array_equal(stems[stem], expected[stem])


def test_half_precision_is_stored_and_not_computed_with(tmp_path: Path) -> None:
    model = seeded(hybrid, 8)
    path = save_demucs_model(tmp_path, "half", model, half=True)
    model.load_state_dict({name: value.half() for name, value in model.state_dict().items()})
    rounded = save_demucs_model(tmp_path, "rounded", model)
    assert path.stat().st_size < 0.6 * rounded.stat().st_size
    system, same, mixture = loaded(tmp_path, "half"), loaded(tmp_path, "rounded"), music(1.0)
    assert system.parameters == same.parameters > 0
    assert system.weights_sha256() == same.weights_sha256()
    first, second = separated(system, mixture), separated(same, mixture)
    for stem in STEMS:
        np.testing.assert_array_equal(first[stem], second[stem])


def test_segment_and_overlap_reach_demucs(repo: Path) -> None:
    mixture = music(1.2)
    expected = expected_of_demucs(repo, "tiny", mixture, shifts=0, overlap=0.4, segment=0.7)
    stems = separated(loaded(repo, segment=0.7, overlap=0.4), mixture)
    for stem in STEMS:
        np.testing.assert_array_equal(stems[stem], expected[stem])


def test_sources_are_taken_by_name(tmp_path: Path) -> None:
    model = seeded(time_domain, 5)
    save_demucs_model(tmp_path, "straight", model)
    shuffled = ("vocals", "other", "drums", "bass")
    args, _ = model._init_args_kwargs
    args[0][:] = shuffled
    save_demucs_model(tmp_path, "shuffled", model)
    mixture = music(0.5)
    straight = separated(loaded(tmp_path, "straight"), mixture)
    renamed = separated(loaded(tmp_path, "shuffled"), mixture)
    for source, name in zip(SOURCES, shuffled, strict=True):
        np.testing.assert_array_equal(renamed[name], straight[source])


def test_guitar_and_piano_belong_to_other(tmp_path: Path) -> None:
    six = (*SOURCES, "guitar", "piano")
    save_demucs_model(tmp_path, "six", seeded(lambda: time_domain(six), 6))
    mixture = music(0.5)
    expected = expected_of_demucs(tmp_path, "six", mixture, shifts=0)
    stems = separated(loaded(tmp_path, "six"), mixture)
    np.testing.assert_allclose(stems["other"], expected["other"] + expected["guitar"] + expected["piano"])
    np.testing.assert_array_equal(stems["bass"], expected["bass"])


def test_same_input_gives_the_same_bits(repo: Path) -> None:
    system, mixture = loaded(repo), music(1.2)
    first, second = separated(system, mixture), separated(system, mixture)
    assert all(np.array_equal(first[stem], second[stem]) for stem in STEMS)


def test_shifts_are_reproducible_and_leave_the_generator_alone(repo: Path) -> None:
    system, mixture = loaded(repo, "dddddddd", shifts=2), music(1.0)
    random.seed(1)
    state = random.getstate()
    first = separated(system, mixture)
    assert random.getstate() == state
    random.seed(2)
    second = separated(system, mixture)
    unshifted = separated(loaded(repo, "dddddddd"), mixture)
    for stem in STEMS:
        np.testing.assert_array_equal(first[stem], second[stem])
        assert not np.array_equal(first[stem], unshifted[stem])


@pytest.mark.parametrize("name", ["tiny", "cccccccc"])
@pytest.mark.parametrize("seconds", [0.5, 1.2])
def test_silence_stays_silent(repo: Path, name: str, seconds: float) -> None:
    stems = separated(loaded(repo, name), np.zeros((round(seconds * RATE), 2)))
    assert max(np.abs(stem).max() for stem in stems.values()) < 1e-3


@pytest.mark.parametrize("name", ["tiny", "cccccccc"])
def test_half_a_second(repo: Path, name: str) -> None:
    separated(loaded(repo, name), music(0.5))


def test_a_mixture_whose_channels_cancel(repo: Path) -> None:
    left = music(0.5)[:, 0]
    separated(loaded(repo), np.stack([left, -left], axis=1))


def test_model_of_another_rate(tmp_path: Path) -> None:
    save_demucs_model(tmp_path, "slow", seeded(lambda: time_domain(samplerate=16000), 7))
    system = loaded(tmp_path, "slow")
    for frames in (22050, 22051, 30011):
        separated(system, music(frames / RATE))


def test_out_of_memory_says_what_to_do(repo: Path) -> None:
    # More samples to a segment than there is memory on earth.
    system = loaded(repo, "dddddddd", segment=1e11)
    with pytest.raises(SystemFailure, match=r"out of memory on cpu.*segment=SECONDS"):
        system.separate(music(0.5), RATE)


def test_separate_before_load(repo: Path) -> None:
    with pytest.raises(SystemFailure, match="load"):
        Demucs(repo=repo, model="tiny").separate(music(0.5), RATE)


# ---- size and identity ----------------------------------------------------------------------------------


def test_parameters_of_all_models_are_counted(repo: Path) -> None:
    expected = sum(parameter.numel() for build in (hybrid, time_domain) for parameter in seeded(build).parameters())
    assert loaded(repo).parameters == expected
    assert Demucs(repo=repo, model="tiny").parameters == 0


def test_a_model_that_is_twice_in_a_bag_counts_once(repo: Path, tmp_path: Path) -> None:
    for path in repo.glob("dddddddd*"):
        shutil.copy(path, tmp_path)
    write_bag(tmp_path, "twice", ["dddddddd", "dddddddd"])
    assert loaded(tmp_path, "twice").parameters == loaded(tmp_path, "dddddddd").parameters


def test_hash_depends_on_all_that_decides_the_output(tmp_path: Path) -> None:
    save_demucs_model(tmp_path, "a", seeded(time_domain, 1))
    save_demucs_model(tmp_path, "same", seeded(time_domain, 1), checksum=False)
    save_demucs_model(tmp_path, "weights", seeded(time_domain, 2))
    save_demucs_model(tmp_path, "order", seeded(lambda: time_domain(SOURCES[::-1]), 1))
    save_demucs_model(tmp_path, "segment", seeded(lambda: time_domain(segment=3), 1))
    write_bag(tmp_path, "bag", ["a", "weights"])
    write_bag(tmp_path, "weighted", ["a", "weights"], weights=[[1, 1, 1, 1], [2, 1, 1, 1]])
    hashes = {name: loaded(tmp_path, name).weights_sha256() for name in ("a", "weights", "order", "segment")}
    hashes |= {name: loaded(tmp_path, name).weights_sha256() for name in ("bag", "weighted")}
    assert len(set(hashes.values())) == 6
    assert all(len(digest) == 64 for digest in hashes.values())
    assert loaded(tmp_path, "same").weights_sha256() == hashes["a"]


def test_version_names_the_package() -> None:
    import demucs

    assert demucs.__version__ in Demucs.version


# ---- eligibility ----------------------------------------------------------------------------------------


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


# ---- weights that are not here --------------------------------------------------------------------------


def test_missing_weights_say_what_to_fetch(no_weights: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(WeightsMissing) as caught:
        Demucs(model="mdx").load()
    wrong, fetch, demo = str(caught.value).split("\n")
    assert (
        wrong == "the weights of mdx are not here, huggingface.co does not answer, "
        "and dl.fbaipublicfiles.com does not answer"
    )
    for signature in catalogue().bags["mdx"]["models"]:
        assert catalogue().checkpoints[signature].file in fetch
    assert "https://dl.fbaipublicfiles.com/demucs/mdx_final/" in fetch
    assert "(or: hf download adefossez/Demucs-mdx)" in fetch
    assert fetch.endswith(f" into {no_weights}")
    assert demo == f"  {DEMO_ADVICE}"
    assert "--option model=demo" in DEMO_ADVICE
    assert capfd.readouterr().err == ""


def test_only_missing_files_are_named(no_weights: Path) -> None:
    no_weights.mkdir(parents=True)
    (no_weights / "0d19c1c6-0f06f20e.th").touch()
    with pytest.raises(WeightsMissing) as caught:
        Demucs(model="mdx").load()
    assert "0d19c1c6" not in str(caught.value)
    assert "7ecf8ec1-70f50cc9.th" in str(caught.value)


def test_missing_model_of_the_hub_that_is_published(no_weights: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"or: hf download adefossez/Demucs-mdx\) into"):
        Demucs(model="hf://mdx").load()


def test_missing_single_checkpoint(no_weights: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"fetch 955717e8-8726e21a\.th from .*/hybrid_transformer/ into"):
        Demucs(model="955717e8").load()


def test_missing_model_of_a_stranger(no_weights: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"hf download somebody/Demucs-thing.*\n.*--option model=demo"):
        Demucs(model="hf://somebody/thing").load()


def test_damaged_file_in_the_cache(no_weights: Path) -> None:
    no_weights.mkdir(parents=True)
    (no_weights / "955717e8-8726e21a.th").write_bytes(b"half a file")
    with pytest.raises(SystemFailure, match=r"Invalid checksum.*955717e8-8726e21a.th"):
        Demucs(model="955717e8").load()


HUB_SCRIPT = """
import http.server, json, sys, threading
from pathlib import Path
from hashlib import sha256

files = Path(sys.argv[1])
requests = []

class Hub(http.server.BaseHTTPRequestHandler):
    def answer(self, body):
        requests.append(self.path)
        path = files / self.path.rsplit("/", 1)[1]
        found = path.is_file() and "/somebody/Demucs-tiny/resolve/main/" in self.path
        content = path.read_bytes() if found else b""
        self.send_response(200 if found or self.path == "/" else 404)
        self.send_header("ETag", '"' + sha256(content).hexdigest() + '"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)
    def do_HEAD(self):
        self.answer(False)
    def do_GET(self):
        self.answer(True)
    def log_message(self, *args):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
threading.Thread(target=server.serve_forever, daemon=True).start()
import os
os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"

import numpy as np
from harness_plugins.demucs import Demucs
system = Demucs(model="hf://somebody/tiny", training="official")
system.load()
asked = len(requests)
again = Demucs(model="hf://somebody/tiny", training="official")
again.load()
stems = again.separate(np.random.default_rng(0).standard_normal((22050, 2)), 44100)
print(json.dumps({
    "asked": asked, "asked_again": len(requests) - asked, "sha256": system.weights_sha256(),
    "same": system.weights_sha256() == again.weights_sha256(), "stems": sorted(stems),
}))
"""


def test_models_of_the_hub_are_fetched_once(repo: Path, tmp_path: Path) -> None:
    """A server that speaks the hub's protocol; the second load must not ask it anything."""
    from safetensors.torch import save_file

    model = seeded(time_domain, 4)
    args, kwargs = model._init_args_kwargs
    metadata = {"klass": "demucs.demucs.Demucs", "args": json.dumps(args), "kwargs": json.dumps(kwargs)}
    files = tmp_path / "files"
    files.mkdir()
    save_file(model.state_dict(), files / "dddddddd.safetensors", metadata=metadata)
    write_bag(files, "tiny", ["dddddddd"])
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "NO_PROXY": "127.0.0.1"}
    environment.pop("HF_HUB_OFFLINE", None)
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(HUB_SCRIPT), str(files)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout)
    assert result["asked"] > 0
    assert result["asked_again"] == 0
    assert result["same"]
    assert result["stems"] == sorted(STEMS)
    assert run.stderr == ""


# ---- wrong input ----------------------------------------------------------------------------------------


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
        loaded(tmp_path, "aaaaaaaa")


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_damaged_checkpoint(repo: Path, tmp_path: Path, content: bytes | None) -> None:
    if content is None:
        whole = next(repo.glob("aaaaaaaa*")).read_bytes()
        content = whole[: len(whole) // 2]
    (tmp_path / "broken.th").write_bytes(content)
    with pytest.raises(SystemFailure, match=r"cannot be loaded.*is it damaged") as caught:
        loaded(tmp_path, "broken")
    assert "\n" not in str(caught.value)


def test_not_a_demucs_checkpoint(tmp_path: Path) -> None:
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.th")
    with pytest.raises(SystemFailure, match="not a demucs checkpoint"):
        loaded(tmp_path, "other")


def test_bag_of_models_that_do_not_fit(tmp_path: Path) -> None:
    save_demucs_model(tmp_path, "a", seeded(time_domain))
    save_demucs_model(tmp_path, "b", seeded(lambda: time_domain(SOURCES[::-1])))
    write_bag(tmp_path, "bag", ["a", "b"])
    with pytest.raises(SystemFailure, match="cannot be loaded"):
        loaded(tmp_path, "bag")


def test_bag_without_weight_for_a_source(tmp_path: Path) -> None:
    save_demucs_model(tmp_path, "a", seeded(time_domain))
    write_bag(tmp_path, "bag", ["a"], weights=[[1, 0, 1, 1]])
    with pytest.raises(SystemFailure, match="weights for bass add up to 0"):
        loaded(tmp_path, "bag")


def test_model_that_lacks_a_stem(tmp_path: Path) -> None:
    save_demucs_model(tmp_path, "two", seeded(lambda: time_domain(("vocals", "other"))))
    with pytest.raises(SystemFailure, match="separates into vocals, other; expected vocals, drums, bass, other"):
        loaded(tmp_path, "two")


def test_mono_model(tmp_path: Path) -> None:
    save_demucs_model(tmp_path, "mono", seeded(lambda: time_domain(audio_channels=1)))
    with pytest.raises(SystemFailure, match="expected stereo"):
        loaded(tmp_path, "mono")


def test_segment_longer_than_a_transformer_takes(repo: Path) -> None:
    with pytest.raises(SystemFailure, match=r"segment=2: model cccccccc takes at most 0\.8 seconds"):
        loaded(repo, "cccccccc", segment=2.0)
    separated(loaded(repo, "cccccccc", segment=0.6), music(1.0))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_device_that_is_not_here(repo: Path) -> None:
    with pytest.raises(SystemFailure, match="option device=cuda: not usable here"):
        loaded(repo, device="cuda")


@pytest.mark.parametrize("device", ["gpu", "meta", ""])
def test_device_that_does_not_exist(repo: Path, device: str) -> None:
    with pytest.raises(SystemFailure, match="not usable here"):
        loaded(repo, device=device)


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
        loaded(tmp_path, "q")


@pytest.mark.parametrize(
    "pair",
    ["overlap=1", "overlap=-0.1", "overlap=nan", "shifts=21", "shifts=1.5", "segment=0", "training=mine", "a=b"],
)
def test_bad_options(pair: str) -> None:
    with pytest.raises(UsageError):
        parse_options(Demucs, [pair])


def test_importing_the_plugin_imports_no_torch() -> None:
    script = (
        "import sys, harness_plugins.demucs as d; d.Demucs(model='htdemucs').not_eligible; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
