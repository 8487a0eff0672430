"""`harness.systems.torch`, as an author uses it: the example of the documentation, and what can go wrong with it."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import Outcome, RunCli, TinySet

from harness.systems import STEMS, Audiogram, Gains, Listener, Option, Signal, SystemFailure, WeightsMissing
from harness.systems.torch import TorchEnhancer, TorchSeparator, blended, load_checkpoint

ROOT = Path(__file__).parents[2]
RATE = 44100


def network(outputs: int = 8, **settings: Any) -> torch.nn.Module:
    """A filter for each output, with weights that are the same in every run."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = torch.nn.Conv1d(2, outputs, 9, padding=4, **settings), torch.nn.Unflatten(1, (outputs // 2, 2))
        return torch.nn.Sequential(*layers)


class Filters(TorchSeparator):
    """The smallest separator; what a test varies is an attribute of the instance."""

    name, version = "filters", "1"
    training_data, licence = "official", "MIT"
    options = (Option("hidden", int, 1, "an option of its own"),)

    def load_model(self) -> Any:
        return network()

    def separate_tensor(self, model: Any, mixture: Any) -> Any:
        return model(mixture)


def music(frames: int = 4410) -> Signal:
    return 0.1 * np.random.default_rng(0).standard_normal((frames, 2))


def failure_of(system: type[TorchSeparator], expected: type[SystemFailure] = SystemFailure) -> str:
    """Load a system and separate with it; the message of the failure, which is one line."""
    ready = system(device="cpu")

    def use() -> None:
        ready.load()
        ready.separate(music(), RATE)

    with pytest.raises(expected) as caught:
        use()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- the example ----------------------------------------------------------------------------------------


def example() -> str:
    (code,) = [
        block
        for block in re.findall(
            r"```python[^\n]*\n(.*?)```", (ROOT / "docs/how-to/pytorch-model.md").read_text(encoding="utf-8"), re.S
        )
        if "TorchSeparator" in block
    ]
    return str(code)


@pytest.fixture
def run_example(run_cli: RunCli, tiny_set: TinySet, tmp_path: Path) -> Callable[..., Outcome]:
    """The example as a plugin with a checkpoint, written as the documentation says."""
    (tmp_path / "mysep.py").write_text(example(), encoding="utf-8")
    save = "import torch, mysep; torch.save(mysep.Network().state_dict(), 'mysep.pt')"
    assert save in (ROOT / "docs/how-to/pytorch-model.md").read_text(encoding="utf-8")
    subprocess.run([sys.executable, "-c", save], cwd=tmp_path, check=True, timeout=120)

    def run(*args: object) -> Outcome:
        command = ["enhance", "--plugin", "mysep.py", "--system", "mysep", *tiny_set.args, "--limit", "1"]
        return run_cli(*command, "--workers", "1", "--output", "made", *args)

    return run


def test_the_example_of_the_documentation_runs(
    run_example: Callable[..., Outcome], run_cli: RunCli, tiny_set: TinySet, tmp_path: Path
) -> None:
    assert len([line for line in example().splitlines() if line.strip()]) <= 25
    made = run_example()
    assert made.code == 0, made.stderr
    manifest = json.loads((tmp_path / "made/submission.json").read_text())
    assert manifest["parameters"] == 4 * 2 * (2 * 9 + 1)
    assert re.fullmatch("[0-9a-f]{64}", manifest["weights_sha256"])
    assert manifest["settings"] == {"checkpoint": "mysep.pt", "device": "auto", "blend": 0.0}
    assert len(list((tmp_path / "made").glob("scene_V001_*_remix.flac"))) == 2

    options = run_cli("systems", "mysep", "--plugin", "mysep.py", "--json").json["options"]
    assert [option["name"] for option in options] == ["checkpoint", "device", "blend"]

    # Trained again, it is another system: what was made with the old weights is not taken for its work.
    state = torch.load("mysep.pt", weights_only=True)
    torch.save({name: tensor + 0.01 for name, tensor in state.items()}, "mysep.pt")
    refused = run_example()
    assert refused.code != 0
    assert "weights" in refused.error


def test_the_example_without_its_checkpoint(run_example: Callable[..., Outcome], tmp_path: Path) -> None:
    missing = run_example("--option", "checkpoint=nowhere.pt")
    assert missing.code == 1
    assert missing.error == "no checkpoint at nowhere.pt: put it there, or name another file"
    assert not (tmp_path / "made").exists()


def test_the_example_with_a_checkpoint_that_does_not_fit(run_example: Callable[..., Outcome], tmp_path: Path) -> None:
    torch.save(network(outputs=4).state_dict(), tmp_path / "other.pt")
    outcome = run_example("--option", "checkpoint=other.pt")
    assert outcome.code == 1
    assert "checkpoint other.pt does not fit the model: 0.weight is (4, 2, 9), expected (8, 2, 9)" in outcome.error


def test_the_example_on_a_device_that_does_not_exist(run_example: Callable[..., Outcome]) -> None:
    outcome = run_example("--option", "device=gpu")
    assert outcome.code == 1
    assert "option device=gpu: not usable here" in outcome.error
    assert "use device=auto or device=cpu" in outcome.error


# ---- what the base class does ---------------------------------------------------------------------------


def test_importing_it_imports_no_torch() -> None:
    script = "import sys; from harness.systems.torch import TorchSeparator; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_device_and_blend_are_added_to_the_options_and_can_be_replaced() -> None:
    own = Option("device", str, "cpu", "one of its own", choices=("cpu",)), Option("blend", str, "all", "another")

    class OnCpu(Filters):
        options = own

    assert [option.name for option in Filters.options] == ["hidden", "device", "blend"]
    assert OnCpu.options == own


@pytest.mark.parametrize("rate", [RATE, 2 * RATE])
def test_a_blend_gives_each_stem_its_share_of_the_mixture(rate: int) -> None:
    plain, mixed = Filters(device="cpu"), Filters(device="cpu", blend=0.4)
    assert (plain.settings["blend"], mixed.settings["blend"]) == (0.0, 0.4)
    plain.load()
    mixed.load()
    mixture = music()
    before, after = plain.separate(mixture, rate), mixed.separate(mixture, rate)
    for stem in STEMS:
        np.testing.assert_allclose(after[stem], 0.6 * before[stem] + 0.1 * mixture, atol=1e-12)


def test_a_blend_may_depend_on_what_is_chosen() -> None:
    class Cautious(Filters):
        @property
        def default_blend(self) -> float:
            return 0.25 if self.settings["hidden"] == 2 else 0.0

    assert Cautious().settings["blend"] == 0.0
    # So it is in the manifest.
    assert Cautious(hidden=2).settings["blend"] == 0.25
    assert Cautious(hidden=2, blend=0.0).settings["blend"] == 0.0


def test_a_blend_of_ones_own_is_left_to_its_author() -> None:
    class Own(Filters):
        options = (Option("blend", float, 0.5, "does something else"),)

    own, plain = Own(device="cpu"), Filters(device="cpu")
    own.load()
    plain.load()
    for ours, theirs in zip(own.separate(music(), RATE).values(), plain.separate(music(), RATE).values(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_stems_that_sum_to_the_mixture_still_do() -> None:
    mixture = music()
    stems = {stem: share * mixture for stem, share in zip(STEMS, (0.1, 0.2, 0.3, 0.4), strict=True)}
    for blend in (0.0, 0.3, 1.0):
        np.testing.assert_allclose(sum(blended(stems, mixture, blend).values()), mixture, atol=1e-12)


def test_stems_are_the_models_in_the_order_that_is_declared() -> None:
    class Shuffled(Filters):
        stem_order = ("drums", "bass", "other", "vocals")

    straight, shuffled = Filters(device="cpu"), Shuffled(device="cpu")
    straight.load()
    shuffled.load()
    mixture = music()
    expected = network()(torch.from_numpy(mixture.T.astype(np.float32))[None])[0].detach().double().numpy()
    first, second = straight.separate(mixture, RATE), shuffled.separate(mixture, RATE)
    assert list(first) == list(second) == list(STEMS)
    for number, (stem, other) in enumerate(zip(STEMS, Shuffled.stem_order, strict=True)):
        assert first[stem].dtype == np.float64
        np.testing.assert_array_equal(first[stem], expected[number].T)
        np.testing.assert_array_equal(second[other], expected[number].T)


def test_the_model_is_in_evaluation_mode_and_has_no_gradients() -> None:
    seen = []

    class Watching(Filters):
        def load_model(self) -> Any:
            return network().train()

        def separate_tensor(self, model: Any, mixture: Any) -> Any:
            stems = model(mixture)
            seen.append((model.training, stems.requires_grad, torch.is_grad_enabled()))
            return stems

    system = Watching(device="cpu")
    system.load()
    system.separate(music(), RATE)
    assert seen == [(False, False, False)]
    assert torch.is_grad_enabled()
    assert not any(parameter.requires_grad for parameter in system.model.parameters())


@pytest.mark.parametrize("frames", [4410, 4411, 5003])
def test_signals_are_resampled_to_the_models_rate_and_back(frames: int) -> None:
    lengths = []

    class Slow(Filters):
        model_rate = 16000

        def separate_tensor(self, model: Any, mixture: Any) -> Any:
            lengths.append(mixture.shape[-1])
            return mixture[:, None].expand(1, 4, 2, -1)

    system = Slow(device="cpu")
    system.load()
    time = np.arange(frames) / RATE
    tone = 0.1 * np.sin(2 * np.pi * 440 * time)[:, None].repeat(2, axis=1) * np.hanning(frames)[:, None]
    stems = system.separate(tone.copy(), RATE)
    assert abs(lengths[0] - frames * 16000 / RATE) <= 1
    for stem in stems.values():
        assert stem.shape == tone.shape
        np.testing.assert_allclose(stem, tone, atol=1e-4)


def test_parameters_and_hash_are_those_of_the_loaded_model() -> None:
    class Described(Filters):
        def description(self) -> str:
            return "with other windows"

    system, same, described = Filters(device="cpu"), Filters(device="cpu"), Described(device="cpu")
    assert (system.parameters, system.weights_sha256()) == (0, "")
    for each in (system, same, described):
        each.load()
    assert system.parameters == 8 * (2 * 9 + 1)
    assert re.fullmatch("[0-9a-f]{64}", system.weights_sha256())
    assert system.weights_sha256() == same.weights_sha256() != described.weights_sha256()


class Louder(TorchEnhancer):
    name, version = "louder", "1"
    training_data, licence = "official", "MIT"

    def load_model(self) -> Any:
        return torch.nn.Identity()

    def enhance_tensor(self, model: Any, mixture: Any, listener: Listener, gains: Gains) -> Any:
        return model(mixture) * 10 ** (gains["vocals"] / 20) * (1 + listener.left.levels[0])


def test_an_enhancer_is_handed_listener_and_gains() -> None:
    audiogram = Audiogram(levels=(1.0,) * 8, frequencies=(250, 500, 1000, 2000, 3000, 4000, 6000, 8000))
    system = Louder(device="cpu")
    system.load()
    mixture = music()
    gains = {"vocals": 20.0, "drums": 0.0, "bass": 0.0, "other": 0.0}
    enhanced = system.enhance(mixture, RATE, Listener("L", audiogram, audiogram), gains)
    np.testing.assert_allclose(enhanced, 20 * mixture, rtol=1e-6)


# ---- what an author may get wrong -----------------------------------------------------------------------


def test_before_load() -> None:
    with pytest.raises(SystemFailure, match=r"load\(\) must be called before separate\(\)"):
        Filters().separate(music(), RATE)


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        (lambda: None, r"load_model() returned nothing (is a return missing?), expected a torch.nn.Module"),
        (lambda: network().state_dict(), "returned a OrderedDict (a state dict? load it into a network), expected"),
        (lambda: "mysep.pt", "load_model() returned a str, expected a torch.nn.Module"),
    ],
)
def test_a_model_that_is_none(returned: Callable[[], Any], reason: str) -> None:
    class Wrong(Filters):
        def load_model(self) -> Any:
            return returned()

    assert reason in failure_of(Wrong)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda stems: None, "separate_tensor() returned nothing"),
        (lambda stems: stems[:, :3], "returned a tensor (1, 3, 2, 4410), expected (1, 4, 2, 4410)"),
        (lambda stems: stems[0], "returned a tensor (4, 2, 4410), expected (1, 4, 2, 4410)"),
        (lambda stems: stems[..., :-1], "returned a tensor (1, 4, 2, 4409), expected (1, 4, 2, 4410)"),
        (lambda stems: stems.numpy(), "returned a ndarray, expected a tensor (1, 4, 2, 4410)"),
    ],
)
def test_a_result_of_another_shape(change: Callable[[Any], Any], reason: str) -> None:
    class Wrong(Filters):
        def separate_tensor(self, model: Any, mixture: Any) -> Any:
            return change(model(mixture))

    assert reason in failure_of(Wrong)


def test_a_stem_that_is_missing() -> None:
    class Three(Filters):
        stem_order = ("vocals", "drums", "bass", "accompaniment")

    assert failure_of(Three) == (
        "filters: no other among its stems (vocals, drums, bass, accompaniment), expected vocals, drums, bass, other"
    )


def test_a_checkpoint_that_the_author_opens_and_that_is_not_there(tmp_path: Path) -> None:
    class Own(Filters):
        def load_model(self) -> Any:
            return torch.load(tmp_path / "nowhere.pt")

    assert failure_of(Own, WeightsMissing) == f"filters: no such file: {tmp_path / 'nowhere.pt'}"


def test_a_state_that_the_author_loads_and_that_does_not_fit() -> None:
    class Own(Filters):
        def load_model(self) -> Any:
            model = network()
            model.load_state_dict(network(outputs=4).state_dict())
            return model

    assert failure_of(Own).startswith("filters: the model cannot be loaded (RuntimeError: Error(s) in loading")


def test_out_of_memory_says_what_to_do() -> None:
    class Greedy(Filters):
        more_memory = "use shorter music"

        def separate_tensor(self, model: Any, mixture: Any) -> Any:
            # More than there is memory on earth.
            return torch.empty(1 << 60, dtype=torch.uint8)

    class GreedyModel(Filters):
        def load_model(self) -> Any:
            return torch.nn.Linear(1 << 30, 1 << 30)

    assert failure_of(Greedy) == "filters: out of memory on cpu; use shorter music"
    assert failure_of(GreedyModel) == "filters: out of memory on cpu; use --option device=cpu"


# ---- checkpoints ----------------------------------------------------------------------------------------


def same(model: Any, other: Any) -> bool:
    state: Mapping[str, Any] = other.state_dict()
    return all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("form", ["whole", "inside", "safetensors"])
def test_forms_of_checkpoints(form: str, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    trained = network()
    with torch.no_grad():
        trained[0].weight += 1
    path = tmp_path / ("weights.safetensors" if form == "safetensors" else "weights.pt")
    if form == "safetensors":
        save_file(trained.state_dict(), path)
    else:
        torch.save(trained.state_dict() if form == "whole" else {"model": trained.state_dict(), "epoch": 3}, path)
    model = network()
    assert not same(model, trained)
    assert load_checkpoint(model, path, "model" if form == "inside" else None) is model
    assert same(model, trained)


def checkpoint_failure(path: Path, key: str | None = None) -> str:
    with pytest.raises(SystemFailure) as caught:
        load_checkpoint(network(), path, key)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "key", "reason"),
    [
        ({"epoch": 3, "model": network().state_dict()}, None, "is not a state dict: try key='model'"),
        ({"epoch": 3}, None, "is not a state dict: save model.state_dict() in it"),
        (torch.zeros(3), None, "is not a state dict: save model.state_dict() in it"),
        ({"model": network().state_dict()}, "ema", "no 'ema' in it (found: model)"),
        (network(bias=False).state_dict(), None, "does not fit the model: 0.bias is missing; is it one of another"),
        ({**network().state_dict(), "1.weight": torch.zeros(1)}, None, "1.weight is not in the model"),
        ({f"layer{n}": torch.zeros(1) for n in range(9)}, None, "0.weight is missing; 0.bias is missing; layer0"),
        ({f"layer{n}": torch.zeros(1) for n in range(9)}, None, ", and 8 more; is it one"),
        (network(), None, "damaged, or holds objects besides tensors; save model.state_dict() in it"),
    ],
)
def test_checkpoints_that_hold_something_else(content: Any, key: str | None, reason: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "weights.pt")
    message = checkpoint_failure(tmp_path / "weights.pt", key)
    assert message.startswith(f"checkpoint {tmp_path / 'weights.pt'}")
    assert reason in message


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
@pytest.mark.parametrize("content", [b"", b"no checkpoint at all", b"\x00" * 100])
def test_damaged_checkpoints(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    message = checkpoint_failure(tmp_path / name)
    assert message.startswith(f"checkpoint {tmp_path / name} cannot be read")
    assert "damaged" in message
