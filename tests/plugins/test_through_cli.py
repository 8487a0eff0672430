"""The systems with weights through the command line, on small checkpoints in the real formats."""

import json

import pytest
from checkpoints import write_convtasnet_repo, write_demucs_repo, write_umx_repo


@pytest.mark.parametrize(
    ("system", "write", "model"),
    [("demucs", write_demucs_repo, True), ("umx", write_umx_repo, False), ("convtasnet", write_convtasnet_repo, False)],
)
def test_local_checkpoints_run_through_the_command_line(system, write, model, run_cli, tiny_set, tmp_path):
    name = write(tmp_path / "weights")
    options = ["--option", f"repo={tmp_path / 'weights'}", *(["--option", f"model={name}"] if model else [])]
    command = ["enhance", "--system", system, *options, *tiny_set.args, "--output", tmp_path / "made"]

    undeclared = run_cli(*command)
    assert undeclared.code == 0, undeclared.stderr
    assert "not eligible for ranking" in undeclared.stderr
    assert run_cli("validate", tmp_path / "made", *tiny_set.args).code == 0
    manifest = json.loads((tmp_path / "made/submission.json").read_text())
    assert manifest["training_data"] == "unknown"
    assert manifest["parameters"] > 0
    assert len(manifest["weights_sha256"]) == 64
    assert manifest["settings"]["repo"] == "weights", "no path of this machine goes into a manifest"

    # Declared, it is another system, and eligible.
    declared = run_cli(*command, "--option", "training=official", "--overwrite", "always")
    assert declared.code == 0, declared.stderr
    assert "not eligible" not in declared.stderr
    assert json.loads((tmp_path / "made/submission.json").read_text())["not_eligible"] is None
