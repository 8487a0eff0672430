"""The system `convtasnet`, with small real checkpoints, as pyclarity's recipe writes them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import CONVTASNET, recipes_convtasnet, seeded, write_convtasnet_repo

from harness.systems import STEMS, Signal, SystemFailure, WeightsMissing
from harness.systems.streaming import OwnStream, Streamed, is_causal, stream
from harness_plugins.convtasnet import ConvTasNet
from harness_plugins.convtasnet.configuration import Configuration
from harness_plugins.convtasnet.loading import FILES, REPOSITORY, REVISION
from harness_plugins.convtasnet.network import Network, Stream
from harness_plugins.past_masks import Divider

RATE = 44100


def music(frames: int, seed: int = 0) -> Signal:
    return 0.1 * np.random.default_rng(seed).standard_normal((frames, 2))


def loaded(repo: Path, **settings: object) -> ConvTasNet:
    system = ConvTasNet(repo=repo, **settings)
    system.load()
    return system


def streamed(system: ConvTasNet, mixture: Signal) -> Streamed:
    with OwnStream(system) as own:
        return stream(own, mixture, RATE, warm_up=0.1)


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("convtasnet")
    write_convtasnet_repo(folder)
    return folder


@pytest.fixture
def own_repo(repo: Path, tmp_path: Path) -> Path:
    """A folder that a test may damage."""
    shutil.copytree(repo, tmp_path / "own")
    return tmp_path / "own"


def rewrite(repo: Path, **settings: object) -> None:
    (repo / "config.json").write_text(json.dumps({**json.loads((repo / "config.json").read_text()), **settings}))


# ---- the network ----------------------------------------------------------------------------------------


def random_settings(seed: int) -> dict[str, object]:
    rng = np.random.default_rng(seed)
    sizes = {name: int(rng.integers(2, 12)) for name in ("N", "B", "H")}
    more = {"L": 2 * int(rng.integers(1, 12)), "P": int(rng.integers(2, 5)), "X": int(rng.integers(1, 6))}
    return {**sizes, **more, "R": int(rng.integers(1, 4)), "mask_nonlinear": ["relu", "softmax"][seed % 2]}


@pytest.mark.parametrize("seed", range(8))
def test_the_stream_is_what_the_recipes_network_returns(seed: int) -> None:
    settings = random_settings(seed)
    recipe = seeded(lambda: recipes_convtasnet(**settings), seed)
    network = Network(Configuration(**{**CONVTASNET, **settings}))  # type: ignore[arg-type]
    network.load_state_dict(recipe.state_dict())
    frames, hop = seed + 1, network.configuration.hop
    # Long enough for every ring to go round.
    samples = torch.from_numpy(music(60 * frames * hop, seed).T.astype(np.float32))
    with torch.no_grad():
        late = torch.cat((torch.zeros(2, hop), samples), dim=1)
        expected = recipe(late[None])[0][..., : samples.shape[1]]
        own = Stream(network, frames)
        found = torch.cat([own.process(block) for block in samples.split(frames * hop, dim=1)], dim=2)
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_how_many_blocks_the_music_comes_in_makes_no_difference() -> None:
    network = seeded(lambda: Network(Configuration(**CONVTASNET)))  # type: ignore[arg-type]
    samples = torch.from_numpy(music(1200).T.astype(np.float32))
    found = []
    with torch.no_grad():
        for frames in (1, 4, 30, 120):
            own = Stream(network, frames)
            found.append(torch.cat([own.process(block) for block in samples.split(10 * frames, dim=1)], dim=2))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=0, atol=1e-6)


def test_parameters_are_counted_without_the_network() -> None:
    for seed in range(4):
        configuration = Configuration(**{**CONVTASNET, **random_settings(seed)})  # type: ignore[arg-type]
        assert configuration.parameters == sum(each.numel() for each in Network(configuration).parameters())
    published = Configuration(256, 20, 256, 512, 3, 10, 4, 2, 2, 44100, "cLN", True, "relu")
    assert published.parameters == 10_846_800  # 43.4 MB in single precision, as the hub has it


# ---- the system -----------------------------------------------------------------------------------------


def test_what_it_is(repo: Path) -> None:
    system = loaded(repo)
    assert (system.block, system.latency) == (200, 110)
    assert is_causal(system.block)
    assert system.parameters == Configuration(**CONVTASNET).parameters  # type: ignore[arg-type]
    result = streamed(system, music(5000))
    # With the 110 samples of NAL-R the whole chain is within 441 samples, 10 ms.
    assert (result.look_ahead, result.delay, result.through) == (220, 89, 309)


def test_vocals_are_the_networks_and_the_rest_is_its_accompaniment_divided(repo: Path) -> None:
    mixture = music(6000)
    result = streamed(loaded(repo), mixture)
    stems = dict(zip(STEMS, result.signals, strict=True))
    recipe = seeded(recipes_convtasnet)
    with torch.no_grad():
        late = np.pad(mixture, ((10, 0), (0, 0))).T.astype(np.float32)
        sources = recipe(torch.from_numpy(late)[None])[0, ..., : len(mixture)].double().numpy()
    vocals, accompaniment = sources.swapaxes(1, 2)
    # Late by 10 samples there, by 110 in the stream, by 89 in the file.
    np.testing.assert_allclose(stems["vocals"][79:], vocals[:-79], atol=1e-6)
    rest = stems["drums"] + stems["bass"] + stems["other"]
    np.testing.assert_allclose(rest[79:], accompaniment[:-79], atol=1e-6)
    # Divided as `live` divides a mixture; what would be vocals there is something else here.
    divider = Divider(RATE, 100, 9, 0.3)
    parts = [divider.process(part) for part in np.split(accompaniment, 60)]
    divided = {stem: np.concatenate([part[stem] for part in parts])[21:] for stem in STEMS}
    for stem in ("drums", "bass"):
        np.testing.assert_allclose(stems[stem][:-21], divided[stem], atol=1e-5)
    np.testing.assert_allclose(stems["other"][:-21], divided["other"] + divided["vocals"], atol=1e-5)


def test_another_future_changes_nothing_before_it(repo: Path) -> None:
    system, mixture = loaded(repo), music(8000)
    other = mixture.copy()
    other[4000:] = music(4000, 1)
    first, second = streamed(system, mixture).signals, streamed(system, other).signals
    for before, after in zip(first, second, strict=True):
        np.testing.assert_array_equal(before[: 4000 - 220], after[: 4000 - 220])
        assert not np.array_equal(before[4000 - 220 :], after[4000 - 220 :])


def test_the_past_is_forgotten_between_pieces(repo: Path) -> None:
    system, mixture = loaded(repo), music(4000)
    first = streamed(system, mixture).signals
    streamed(system, music(4000, 1))
    np.testing.assert_array_equal(first, streamed(system, mixture).signals)


def test_level_makes_no_difference(repo: Path) -> None:
    system, mixture = loaded(repo), music(4000)
    loud, quiet = streamed(system, mixture).signals, streamed(system, mixture / 16).signals
    np.testing.assert_allclose(np.array(loud[0]), 16 * np.array(quiet[0]), atol=0.01 * np.abs(loud[0]).max())


def test_frames_of_another_length(tmp_path: Path) -> None:
    write_convtasnet_repo(tmp_path, L=32)
    system = loaded(tmp_path)
    assert (system.block, system.latency) == (2 * 96, 96 + 16)
    assert is_causal(system.block)
    assert np.abs(streamed(system, music(3000)).signals[0]).max() > 1e-4


def test_listing_the_systems_imports_no_heavy_library() -> None:
    script = "import sys, harness_plugins.convtasnet, harness_plugins.live; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert not {"torch", "huggingface_hub", "scipy.ndimage", "scipy.signal"} & set(run.stdout.split())


def test_hash_depends_on_weights_and_configuration(repo: Path, own_repo: Path) -> None:
    digest = loaded(repo).weights_sha256()
    assert loaded(own_repo).weights_sha256() == digest
    rewrite(own_repo, mask_nonlinear="softmax")
    assert loaded(own_repo).weights_sha256() != digest
    write_convtasnet_repo(own_repo)
    assert loaded(own_repo).weights_sha256() == digest


# ---- eligibility ----------------------------------------------------------------------------------------


def test_the_published_network_is_eligible_and_an_own_one_is_what_is_declared(repo: Path) -> None:
    assert (ConvTasNet().training_data, ConvTasNet().licence) == ("official", "Apache-2.0")
    assert ConvTasNet().not_eligible is None
    with pytest.raises(SystemFailure, match=r"training data is known \(official\)"):
        ConvTasNet(training="private")
    assert (ConvTasNet(repo=repo).training_data, ConvTasNet(repo=repo).licence) == ("unknown", "unknown")
    assert "not declared (--option training=...)" in str(ConvTasNet(repo=repo).not_eligible)
    assert ConvTasNet(repo=repo, training="official").not_eligible is None
    assert "private data" in str(ConvTasNet(repo=repo, training="private").not_eligible)


# ---- weights that are not here, and wrong ones ----------------------------------------------------------


def hub_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub in a folder; where it keeps the published files."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder / f"models--{REPOSITORY.replace('/', '--')}" / "snapshots" / REVISION


def test_missing_weights_say_what_to_fetch(
    no_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    hub_cache(tmp_path, monkeypatch)
    with pytest.raises(WeightsMissing) as caught:
        ConvTasNet().load()
    wrong, fetch, instead = str(caught.value).split("\n")
    assert wrong == f"the weights of {REPOSITORY} are not here, and huggingface.co does not answer"
    assert fetch == f"  fetch {' '.join(FILES)} from https://huggingface.co/{REPOSITORY}/tree/{REVISION}"
    assert "--option repo=FOLDER --option training=official" in instead
    assert capfd.readouterr().err == ""


def test_cached_weights_need_no_network(
    no_weights: Path, repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files in the place and under the names of the published ones, with a small network."""
    shutil.copytree(repo, hub_cache(tmp_path, monkeypatch))
    system = ConvTasNet()
    system.load()
    assert system.parameters > 0
    assert system.not_eligible is None


def test_files_that_are_not_there(tmp_path: Path, own_repo: Path) -> None:
    with pytest.raises(SystemFailure, match="no such folder"):
        loaded(tmp_path / "nowhere")
    for name in FILES:
        (own_repo / name).unlink()
    with pytest.raises(WeightsMissing, match=r"config\.json, model\.safetensors missing in it"):
        loaded(own_repo)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"causal": False}, "causal is false, expected true"),
        ({"causal": 1}, "causal is 1, expected true"),
        ({"norm_type": "gLN"}, 'norm_type is "gLN", expected "cLN"'),
        ({"C": 4}, "C is 4, expected 2"),
        ({"samplerate": 16000}, "samplerate is 16000, expected 44100"),
        ({"mask_nonlinear": "exp"}, 'expected "relu" or "softmax"'),
        ({"audio_channels": 1}, "audio_channels is 1, expected 2"),
        ({"L": 21}, "expected an even number"),
        ({"N": 0}, "N is 0, expected a whole number from 1 to 4096"),
        ({"X": 1000000}, "X is 1000000, expected a whole number from 1 to 16"),
        ({"H": "9" * 10000}, r'H is "9{35} \.\.\., expected'),
        ({"H": True}, "H is true, expected"),
        ({"H": 4096, "R": 16, "X": 16}, "parameters, more than"),
        ({"B": 9}, "does not fit the model"),
    ],
)
def test_another_network_is_refused(own_repo: Path, settings: dict[str, object], message: str) -> None:
    rewrite(own_repo, **settings)
    with pytest.raises(SystemFailure, match=message) as caught:
        loaded(own_repo)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[" * 30000, "cannot be read as JSON"),
        ("[]", "expected an object, found a list"),
        ('{"N": 16}', "L, B, H, P, X, R, C, audio_channels, samplerate, norm_type, causal, mask_nonlinear missing"),
        (" " * 70000, "more than 65536 bytes"),
    ],
)
def test_damaged_configuration(own_repo: Path, content: str, message: str) -> None:
    (own_repo / "config.json").write_text(content)
    with pytest.raises(SystemFailure, match=message):
        loaded(own_repo)


def test_damaged_weights(own_repo: Path) -> None:
    path = own_repo / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SystemFailure, match="is it damaged"):
        loaded(own_repo)
    # A pickle by this name is no safetensors file, and is not run.
    torch.save({"a": torch.zeros(100000)}, path)
    with pytest.raises(SystemFailure, match="is it damaged"):
        loaded(own_repo)
