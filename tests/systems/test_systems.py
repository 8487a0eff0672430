"""Options of systems: what is declared, and what the command line makes of right and wrong values."""

from pathlib import Path
from typing import Any

import pytest
from support import RunCli, TinySet

from harness.errors import UsageError
from harness.systems import STEMS, TRAINING_DATA, Option, Reference, Separator, parse_options


class Example(Separator):
    name = "example"
    version = "1"
    options = (
        Option("overlap", float, 0.25, "share of a segment", minimum=0, maximum=0.99),
        Option("scale", float, 1.0, "any number"),
        Option("shifts", int, 1, "random shifts", minimum=1),
        Option("fast", bool, False, "be quick"),
        Option("model", str, "a", "which one", choices=("a", "b")),
        Option("repo", Path, None, "a folder"),
        Option("segment", float, None, "seconds", maximum=10),
    )

    def separate(self, mixture: Any, sample_rate: int) -> dict[str, Any]:
        return dict.fromkeys(STEMS, mixture / 4)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("overlap=0", 0.0),
        ("overlap=0.99", 0.99),
        ("scale=-1e3", -1000.0),
        ("shifts=7", 7),
        ("fast=TRUE", True),
        ("fast=no", False),
        ("model=b", "b"),
        ("repo=a=b/c", Path("a=b/c")),
    ],
)
def test_a_value_is_read_as_its_type(text: str, value: object) -> None:
    name = text.partition("=")[0]
    settings = parse_options(Example, [text])
    assert settings == {name: value}
    assert type(settings[name]) is type(value) or isinstance(value, Path)
    others = {option.name: option.default for option in Example.options if option.name != name}
    assert Example(**settings).settings == {**others, name: value}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["overlap=much"], "option overlap=much: expected float from 0 to 0.99"),
        (["overlap=-0.1"], "expected float from 0 to 0.99"),
        (["overlap=1"], "expected float from 0 to 0.99"),
        (["overlap=nan"], "expected float from 0 to 0.99"),
        (["overlap="], "option overlap=: expected float from 0 to 0.99"),
        (["scale=nan"], "option scale=nan: expected float"),
        (["scale=inf"], "option scale=inf: expected float"),
        (["shifts=1.5"], "expected int from 1"),
        (["shifts=0"], "expected int from 1"),
        (["fast=maybe"], "expected true or false"),
        (["model=c"], "expected one of a, b"),
        (["segment=11"], "expected float up to 10"),
        (["segment=None"], "expected float up to 10"),
        (["shifts=1", "shifts=2"], "--option shifts is given twice"),
        (["shifts"], "--option shifts: expected key=value (harness systems example lists them)"),
        (["=1"], "system example has no option ''"),
        (["speed=9"], "no option 'speed' (its options: overlap, scale, shifts, fast, model, repo, segment)"),
    ],
)
def test_a_wrong_option_is_refused_with_what_was_expected(texts: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_options(Example, texts)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "settings", [{"shifts": 0}, {"shifts": True}, {"shifts": 2.0}, {"overlap": "0"}, {"nothing": 1}]
)
def test_settings_given_in_code_are_checked_as_well(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Example(**settings)


def test_wrong_options_on_the_command_line(tiny_set: TinySet, run_cli: RunCli) -> None:
    for option, message in (
        ("loud=1", "system passthrough has no option 'loud' (its options: none)"),
        ("loud", "--option loud: expected key=value"),
    ):
        outcome = run_cli("enhance", "--system", "passthrough", *tiny_set.args, "--option", option)
        assert (outcome.code, message in outcome.error) == (2, True)
    nobody = run_cli("enhance", "--system", "nobody", *tiny_set.args)
    assert nobody.code == 2
    assert "no system named 'nobody' (known: " in nobody.error
    assert "passthrough" in nobody.error


@pytest.mark.parametrize(("label", "reason"), TRAINING_DATA.items())
def test_training_data_decides_who_is_eligible(label: str, reason: str | None) -> None:
    system = Example()
    system.training_data = label
    assert system.not_eligible == reason
    assert (reason is None) == (label.startswith("official") or label == "none")


def test_a_reference_is_always_marked(run_cli: RunCli, plugin: Any, tiny_set: TinySet) -> None:
    path = plugin("def stems(self, true_stems, sample_rate):\n    return true_stems", base="Reference", name="cheat")
    (shown,) = [each for each in run_cli("systems", "--plugin", path, "--json").json if each["name"] == "cheat"]
    assert shown["kind"] == "reference"
    table = run_cli("systems", "--plugin", path).stdout
    assert [line.split()[1] for line in table.splitlines() if line.startswith("cheat")] == ["reference"]
    outcome = run_cli("enhance", "--system", "cheat", "--plugin", path, *tiny_set.args)
    assert outcome.code == 0
    assert '"reference": true' in Path("submissions/cheat/submission.json").read_text()
    assert Reference.reference
    assert not Separator.reference
