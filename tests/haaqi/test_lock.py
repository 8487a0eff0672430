"""The lock: the evaluator is the locked one, and a changed byte does not go unnoticed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from golden.make_golden import official_rows, write_layout

from harness.challenge import CAD1, PROTOCOL, PROTOCOLS
from harness.errors import EvaluatorError
from harness.haaqi import conformance, lock


def test_the_installed_evaluator_is_the_locked_one(run_cli):
    result = run_cli("evaluator", "verify", "--json")
    report = json.loads(result.stdout)
    assert result.code == 0, report["problems"]
    assert report["locked"] is True
    assert report["fingerprint"] == lock.fingerprint() == report["evaluators"][PROTOCOL.name]["fingerprint"]
    assert report["evaluators"].keys() == PROTOCOLS.keys()
    for name, evaluator in report["evaluators"].items():
        assert evaluator == {
            "locked": True,
            "fingerprint": lock.fingerprint(PROTOCOLS[name]),
            "problems": [],
            "lock": lock.lock(PROTOCOLS[name]),
        }
    assert {"python", "numpy", "scipy", "numba", "soxr", "platform"} <= report["environment"].keys()


ICASSP_SCORE = (
    "from harness.haaqi.conformance import scenes\n"
    "from harness.haaqi.evaluator import reference_mixture, score_pair\n"
    "scene = scenes()[1]\n"
    "who = scene.listeners[0]\n"
    "remix = (scene.processed(who) / 32768).astype('float32')\n"
    "score_pair(scene.id, reference_mixture(scene.stems, scene.mixture, scene.gains), remix, who)\n"
)
CAD1_SCORE = (
    "import tempfile, pathlib\n"
    "from harness.haaqi.conformance_cad1 import submitted\n"
    "from harness.haaqi.stems import score_stems\n"
    "with tempfile.TemporaryDirectory() as folder:\n"
    "    pair, true, given = next(submitted(pathlib.Path(folder)))\n"
    "    score_stems(pair.scene.id, true, given, pair.listener)\n"
)


@pytest.mark.parametrize(("protocol", "score"), [(PROTOCOL, ICASSP_SCORE), (CAD1, CAD1_SCORE)], ids=["icassp", "cad1"])
def test_every_source_on_the_way_to_a_score_is_locked(protocol, score):
    program = (
        f"import sys\n{score}"
        "for name, module in sys.modules.items():\n"
        "    if name.split('.')[0] in ('clarity', 'pyloudnorm') and module.__file__:\n"
        "        print(module.__file__)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    folders = [lock._package_folder(package).parent for package in lock.LOCKED_PACKAGES.values()]
    imported = {
        Path(line).relative_to(folder).as_posix()
        for line in result.stdout.splitlines()
        for folder in folders
        if Path(line).is_relative_to(folder)
    }
    assert imported
    assert imported <= set(lock.lock(protocol)["sources"])
    # And nothing is locked that has nothing to do with it: pyloudnorm may change under the first challenge's protocol.
    if protocol == CAD1:
        assert imported == set(lock.lock(CAD1)["sources"])


@pytest.fixture
def installed_copy(tmp_path):
    """A copy of the evaluator's packages that stands before the installed ones, and a way to run the harness on it."""
    for package in lock.LOCKED_PACKAGES.values():
        shutil.copytree(lock._package_folder(package), tmp_path / "site" / package)

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-c", "from harness.cli import main; main()", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path / "site"), "HARNESS_DB": "sqlite:///own.db"},
            check=False,
        )

    return tmp_path, run


def test_one_changed_byte_of_the_ear_model_is_noticed(installed_copy):
    folder, run = installed_copy
    ear_model = folder / "site/clarity/evaluator/haspi/eb.py"
    content = bytearray(ear_model.read_bytes())
    content[content.index(b"small = 1e-30") + 8] = ord("2")
    ear_model.write_bytes(content)

    verified = run("evaluator", "verify")
    assert verified.returncode == 1
    assert "clarity/evaluator/haspi/eb.py has been changed" in verified.stdout
    assert "pip install --force-reinstall --no-deps pyclarity==0.9.0" in verified.stdout

    write_layout(folder / "set")
    scored = run("score", folder / "set/submission", "--data", folder / "set")
    assert scored.returncode == 1
    assert "not the locked one, so nothing is scored" in scored.stderr
    listed = json.loads(run("leaderboard", "--json").stdout)
    assert listed == []


def test_a_missing_source_is_noticed(installed_copy):
    folder, run = installed_copy
    (folder / "site/pyloudnorm/util.py").unlink()
    verified = run("evaluator", "verify")
    assert verified.returncode == 1
    assert "pyloudnorm/util.py is missing" in verified.stdout
    # The first challenge's protocol measures no loudness.
    assert verified.stdout.count("✗") == 1
    assert f"evaluator {lock.fingerprint(CAD1)}" in verified.stdout


def test_the_official_program_agrees_with_the_vectors(tmp_path):
    """Runs the recipe's own evaluate.py, unchanged, on the conformance set."""
    root = tmp_path / "conformance"
    write_layout(root)
    official = conformance.official_scores()
    rows = official_rows(root)
    assert len(rows) == len(official) == 4
    for row in rows:
        expected = official[row["scene"], row["listener"]]
        assert abs(float(row["left_score"]) - expected.left) <= conformance.TOLERANCE
        assert abs(float(row["right_score"]) - expected.right) <= conformance.TOLERANCE


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_the_fingerprint_is_a_hash_of_everything_in_the_lock(protocol):
    content = lock.lock(protocol)
    assert content == lock.current(protocol)
    assert len(lock.fingerprint(protocol)) == 64
    assert content["protocol"]["name"] == protocol.name
    assert set(content["protocol"]) >= {"sample_rate", "seed_modulus", "haaqi_level_db", "nalr_order"}


def test_the_fingerprints_are_those_that_stored_scores_carry():
    """They may only change with a reason, and by intent: scores under another one start a board of their own."""
    assert lock.fingerprint() == "16b8023281c6da04ab295dff8b606b26da1490d7f0bb40ab39e4e344b8056b6b"
    assert lock.fingerprint(CAD1) == "f6a41ccfec5ad18f336882186cdb9fc33758d74dfdefc488d59e995f2420b200"


def test_each_protocol_is_proven_for_itself(monkeypatch, tmp_path):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    asked = []
    monkeypatch.setattr(lock, "_disagreements", lambda protocol: asked.append(protocol.name) or [])
    for protocol in (PROTOCOL, CAD1, PROTOCOL, CAD1):
        lock.ensure_locked(protocol)
    assert asked == [PROTOCOL.name, CAD1.name]


def test_a_changed_vector_of_one_protocol_is_no_matter_of_the_other(monkeypatch):
    content = {**lock.lock(CAD1), "conformance_sha256": "0" * 64}
    shipped = lock.lock
    monkeypatch.setattr(lock, "lock", lambda protocol=PROTOCOL: content if protocol == CAD1 else shipped(protocol))
    assert lock.source_problems(CAD1) == ["conformance_cad1.csv has been changed: reinstall cadenza-harness"]
    assert lock.source_problems() == []
    with pytest.raises(EvaluatorError, match=r"not the locked one, so nothing is scored: conformance_cad1\.csv"):
        lock.ensure_locked(CAD1)
