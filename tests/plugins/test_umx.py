"""The system `umx`, with small real model folders in Open-Unmix's own format."""

import json
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import write_umx_repo
from separating import RATE, music, separated

from harness.causality.audit import audit
from harness.causality.futures import other_than
from harness.errors import UsageError
from harness.systems import STEMS, TRAINING_DATA, SystemFailure, WeightsMissing, parse_options
from harness_plugins.torch_support import DEMO_ADVICE
from harness_plugins.umx import PUBLISHED, OpenUnmix, import_openunmix


def loaded(repo: Path, **settings: object) -> OpenUnmix:
    system = OpenUnmix(repo=repo, **settings)
    system.load()
    return system


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("umx")
    write_umx_repo(folder)
    return folder


@pytest.fixture
def own_repo(tmp_path: Path) -> Path:
    """A folder that a test may damage."""
    write_umx_repo(tmp_path / "umx")
    return tmp_path / "umx"


# ---- separation -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("niter", "softmask"), [(0, False), (1, False), (0, True)])
def test_separates_as_openunmix_does(repo: Path, niter: int, softmask: bool) -> None:
    mixture = music(1.5)
    import_openunmix()
    from openunmix.utils import load_separator

    # Another order of targets: each network must still answer for its own stem.
    reference = load_separator(str(repo), targets=["bass", "vocals", "other", "drums"], niter=niter)
    reference.freeze()
    reference.softmask = softmask
    with torch.no_grad():
        audio = torch.tensor(mixture.T, dtype=torch.float32)[None]
        expected = reference.to_dict(reference(audio))
    stems = separated(loaded(repo, niter=niter, softmask=softmask), mixture)
    for stem in STEMS:
        assert np.abs(stems[stem]).max() > 1e-3
        np.testing.assert_allclose(stems[stem], expected[stem][0].numpy().T, atol=1e-6)


def test_same_input_gives_the_same_bits(repo: Path) -> None:
    system, mixture = loaded(repo), music(1.0)
    first, second = separated(system, mixture), separated(system, mixture)
    again = separated(loaded(repo), mixture)
    for stem in STEMS:
        np.testing.assert_array_equal(first[stem], second[stem])
        np.testing.assert_array_equal(first[stem], again[stem])


@pytest.mark.parametrize("settings", [{}, {"niter": 2}, {"softmask": True}])
def test_silence_stays_silent(repo: Path, settings: dict[str, Any]) -> None:
    stems = separated(loaded(repo, **settings), np.zeros((RATE, 2)))
    assert max(np.abs(stem).max() for stem in stems.values()) < 1e-6


def test_half_a_second(repo: Path) -> None:
    separated(loaded(repo), music(0.5))


def test_model_of_another_rate(tmp_path: Path) -> None:
    write_umx_repo(tmp_path, sample_rate=16000, nfft=1024)
    system = loaded(tmp_path)
    for frames in (22050, 22051, 30011):
        separated(system, music(frames / RATE))


@pytest.mark.parametrize(
    ("unidirectional", "niter", "measured"), [(True, 0, True), (True, 1, False), (False, 0, False)]
)
def test_look_ahead_of_a_unidirectional_model_is_one_window(
    tmp_path: Path, unidirectional: bool, niter: int, measured: bool
) -> None:
    """Networks that run backwards, and the Wiener filter, look further."""
    write_umx_repo(tmp_path, unidirectional=unidirectional, nfft=1024)
    system = loaded(tmp_path, niter=niter)
    assert system.measure_look_ahead == measured
    assert not system.causal

    mixture = music(3.0)
    seen = audit(lambda piece: np.hstack(list(separated(system, piece).values())), mixture, other_than(mixture), cuts=1)
    assert seen.verdict == "not causal"
    assert (seen.whole_piece or seen.look_ahead > 1023) == (not measured)
    if measured:
        # The outermost samples of a window hardly count: 889 when written.
        assert 700 < seen.look_ahead <= 1023


def test_half_precision_is_stored_and_not_computed_with(repo: Path, tmp_path: Path) -> None:
    for name in ("half", "rounded"):
        shutil.copytree(repo, tmp_path / name)
    for stem in STEMS:
        state = torch.load(repo / f"{stem}.pth")
        half = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
        torch.save(half, tmp_path / "half" / f"{stem}.pth")
        rounded = {name: value.to(state[name].dtype) for name, value in half.items()}
        torch.save(rounded, tmp_path / "rounded" / f"{stem}.pth")
    system, same, mixture = loaded(tmp_path / "half"), loaded(tmp_path / "rounded"), music(1.0)
    assert system.parameters == same.parameters > 0
    assert system.weights_sha256() == same.weights_sha256()
    first, second = separated(system, mixture), separated(same, mixture)
    for stem in STEMS:
        np.testing.assert_array_equal(first[stem], second[stem])


# ---- size and identity ----------------------------------------------------------------------------------


def test_parameters_are_counted(repo: Path) -> None:
    # The running statistics of batch normalisation are measured, not learned.
    state = [torch.load(repo / f"{stem}.pth") for stem in STEMS]
    learned = sum(
        value.numel()
        for tensors in state
        for name, value in tensors.items()
        if "running" not in name and "num_batches" not in name
    )
    assert loaded(repo).parameters == learned
    assert OpenUnmix(repo=repo).parameters == 0


def test_hash_depends_on_weights_and_transform(repo: Path, own_repo: Path) -> None:
    digest = loaded(repo).weights_sha256()
    assert len(digest) == 64
    assert loaded(own_repo).weights_sha256() == digest
    description = json.loads((own_repo / "separator.json").read_text())
    (own_repo / "separator.json").write_text(json.dumps({**description, "nhop": 512}))
    hop = loaded(own_repo).weights_sha256()
    state = torch.load(own_repo / "bass.pth")
    state["input_mean"][0] += 1
    torch.save(state, own_repo / "bass.pth")
    assert len({digest, hop, loaded(own_repo).weights_sha256()}) == 3


def test_version_names_the_package() -> None:
    assert OpenUnmix.version.startswith("1+openunmix1.")


# ---- eligibility ----------------------------------------------------------------------------------------


def test_published_models_are_judged_before_loading() -> None:
    assert {published.training_data for published in PUBLISHED.values()} <= set(TRAINING_DATA)
    assert OpenUnmix().training_data == "official"
    assert OpenUnmix().not_eligible is None
    assert OpenUnmix(model="umx").not_eligible is None
    assert "private data set of about 400 hours" in str(OpenUnmix(model="umxl").not_eligible)
    assert "CC BY-NC-SA 4.0" in OpenUnmix(model="umxl").licence


def test_published_models_cannot_be_relabelled() -> None:
    with pytest.raises(SystemFailure, match=r"umxl is no model of your own.*\(private\)"):
        OpenUnmix(model="umxl", training="official")


def test_local_models_are_what_is_declared(repo: Path) -> None:
    assert OpenUnmix(repo=repo).training_data == "unknown"
    assert "not declared (--option training=...)" in str(OpenUnmix(repo=repo).not_eligible)
    assert OpenUnmix(repo=repo).licence == "unknown"
    assert OpenUnmix(repo=repo, training="official").not_eligible is None
    assert "private data" in str(OpenUnmix(repo=repo, training="private").not_eligible)


# ---- weights that are not here --------------------------------------------------------------------------


@pytest.mark.parametrize("model", PUBLISHED)
def test_addresses_are_those_of_openunmix(model: str) -> None:
    """The package has its addresses in constants of a function: compare with those in its source."""
    source = Path(str(import_openunmix().__file__)).read_text(encoding="utf-8")
    published = PUBLISHED[model]
    assert [file.split("-")[0] for file in published.files] == list(STEMS)
    for file in published.files:
        assert f'"{file.split("-")[0]}": "{published.url}{file}"' in source


def test_missing_weights_say_what_to_fetch(no_weights: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(WeightsMissing) as caught:
        OpenUnmix().load()
    wrong, fetch, demo = str(caught.value).split("\n")
    assert wrong == "the weights of umxhq are not here, and zenodo.org does not answer"
    for file in PUBLISHED["umxhq"].files:
        assert file in fetch
    assert fetch.endswith(f" from https://zenodo.org/records/3370489/files/ into {no_weights}")
    assert demo == f"  {DEMO_ADVICE}"
    assert capfd.readouterr().err == ""


def test_cached_weights_need_no_network(no_weights: Path) -> None:
    """Files of the published names and shapes, with random weights."""
    model = import_openunmix().model
    network = model.OpenUnmix(nb_bins=2049, nb_channels=2, hidden_size=512, max_bin=1487)
    no_weights.mkdir(parents=True)
    torch.save(network.state_dict(), no_weights / "any.pth")
    for file in PUBLISHED["umxhq"].files:
        (no_weights / file).hardlink_to(no_weights / "any.pth")
    system = OpenUnmix()
    system.load()
    # 8.9 million parameters for each of four stems.
    assert 35_000_000 < system.parameters < 36_000_000
    assert system.not_eligible is None


def test_damaged_file_in_the_cache(no_weights: Path) -> None:
    no_weights.mkdir(parents=True)
    for file in PUBLISHED["umxhq"].files:
        (no_weights / file).write_bytes(b"half a file")
    with pytest.raises(SystemFailure, match="delete them to fetch them again"):
        OpenUnmix().load()


# ---- torchaudio -----------------------------------------------------------------------------------------

SEPARATE = """
import sys
import numpy as np
from pathlib import Path
from harness_plugins.umx import OpenUnmix, import_openunmix
assert "torch" not in sys.modules
system = OpenUnmix(repo=Path(sys.argv[1]))
system.load()
stems = system.separate(np.random.default_rng(0).standard_normal((22050, 2)), 44100)
assert all(np.isfinite(stem).all() for stem in stems.values())
"""

ABSENT = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torchaudio":
            raise ModuleNotFoundError("No module named 'torchaudio'", name="torchaudio")
sys.meta_path.insert(0, Block())
"""

BROKEN = """
import sys
from pathlib import Path
folder = Path(sys.argv[2])
(folder / "torchaudio").mkdir()
(folder / "torchaudio" / "__init__.py").write_text("raise OSError('libtorchaudio.so: undefined symbol')")
sys.path.insert(0, str(folder))
"""

STILL_MISSING = """
assert "torchaudio" not in sys.modules
try:
    import torchaudio
except (ImportError, OSError):
    pass
else:
    raise AssertionError("torchaudio should not import")
import openunmix.utils
try:
    openunmix.utils.preprocess(__import__("torch").zeros(2, 100), 48000, 44100)
except ImportError as error:
    assert "torchaudio.transforms" in str(error), error
else:
    raise AssertionError("resampling needs torchaudio")
"""

WORKING = """
import sys
from pathlib import Path
folder = Path(sys.argv[2])
(folder / "torchaudio").mkdir()
(folder / "torchaudio" / "__init__.py").write_text("mark = 'the real one'")
sys.path.insert(0, str(folder))
"""

STILL_THERE = """
import torchaudio, openunmix.utils
assert torchaudio.mark == "the real one"
assert openunmix.utils.torchaudio is torchaudio
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(ABSENT, STILL_MISSING, id="absent"),
        pytest.param(BROKEN, STILL_MISSING, id="broken"),
        pytest.param(WORKING, STILL_THERE, id="working"),
    ],
)
def test_torchaudio(repo: Path, tmp_path: Path, before: str, after: str) -> None:
    script = "\n".join(textwrap.dedent(part) for part in (before, SEPARATE, after))
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(repo), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr


# ---- wrong input ----------------------------------------------------------------------------------------


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(SystemFailure, match="no such folder"):
        loaded(tmp_path / "nowhere")


def test_missing_files_are_listed(own_repo: Path) -> None:
    for name in ("separator.json", "drums.json", "other.pth"):
        (own_repo / name).unlink()
    with pytest.raises(WeightsMissing, match=r"separator\.json, drums\.json, other\.pth or other-\*\.pth missing"):
        loaded(own_repo)


def test_names_as_published_are_found(own_repo: Path) -> None:
    (own_repo / "other.pth").rename(own_repo / "other-b52fbbf7.pth")
    (own_repo / "others.pth").write_bytes(b"something else")
    loaded(own_repo)


def test_two_files_for_a_target(own_repo: Path) -> None:
    (own_repo / "drums-old.pth").write_bytes((own_repo / "drums.pth").read_bytes())
    with pytest.raises(SystemFailure, match=r"which of drums-old\.pth, drums\.pth"):
        loaded(own_repo)


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def forget_a_layer(path: Path) -> None:
    state = torch.load(path)
    del state["fc2.weight"]
    torch.save(state, path)


def another_size(path: Path) -> None:
    state = torch.load(path)
    state["fc2.weight"] = state["fc2.weight"][:, :3]
    torch.save(state, path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, "cannot be loaded"),
        (lambda path: path.write_bytes(b""), "cannot be loaded"),
        (lambda path: torch.save([1], path), "cannot be loaded"),
        (another_size, "cannot be loaded"),
        (forget_a_layer, r"weights missing in it: fc2\.weight"),
    ],
)
def test_damaged_weights(own_repo: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(own_repo / "bass.pth")
    with pytest.raises(SystemFailure, match=message) as caught:
        loaded(own_repo)
    assert "bass.pth" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("separator.json", "{", "cannot be read as JSON"),
        ("separator.json", "[]", "positive number as sample_rate, found None"),
        ("separator.json", '{"sample_rate": 44100, "nfft": "x"}', "positive whole number as nfft, found 'x'"),
        (
            "separator.json",
            '{"sample_rate": 44100, "nfft": 4096, "nhop": 1024, "nb_channels": 1}',
            "nb_channels is 1, expected 2",
        ),
        ("vocals.json", "{}", r"args\.nfft"),
        (
            "vocals.json",
            '{"args": {"nfft": 2048, "nb_channels": 2, "hidden_size": 8}}',
            r"nfft is 2048, but 4096 in separator\.json",
        ),
    ],
)
def test_malformed_descriptions(own_repo: Path, name: str, content: str, message: str) -> None:
    (own_repo / name).write_text(content)
    with pytest.raises(SystemFailure, match=message) as caught:
        loaded(own_repo)
    assert name in str(caught.value)


@pytest.mark.parametrize("pair", ["model=umxse", "niter=-1", "niter=11", "niter=1.5", "training=mine"])
def test_bad_options(pair: str) -> None:
    with pytest.raises(UsageError):
        parse_options(OpenUnmix, [pair])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_device_that_is_not_here(repo: Path) -> None:
    with pytest.raises(SystemFailure, match="option device=cuda: not usable here"):
        loaded(repo, device="cuda")
