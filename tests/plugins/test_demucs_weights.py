"""Weights of `demucs` that are not here: what to fetch is said, and the hub's models are fetched once."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from checkpoints import seeded, time_domain, write_bag

from harness.systems import STEMS, SystemFailure, WeightsMissing
from harness_plugins.demucs import Demucs, catalogue
from harness_plugins.torch_support import DEMO_ADVICE


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
