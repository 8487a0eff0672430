"""Every step of the published recipes beside ours: each row of the tables of docs/explanation/agreement.md is a test.

The recipes' own functions are called, as pyclarity ships them. What the first challenge's official program (v0.3.4)
does otherwise than those shipped now shows in its scores, which stand in `conformance_cad1.csv`. What is done at a step
is in `recipe_steps/`.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from recipe_steps import cad1, icassp
from recipe_steps.icassp import FADED, separated
from recipe_steps.official import SCENES, gap

DOCUMENT = Path(__file__).parents[1] / "docs" / "explanation" / "agreement.md"
MEASURES = {**icassp.STEPS, **cad1.STEPS}


def rows() -> Iterator[tuple[str, str]]:
    """The document's steps with the difference that each allows."""
    challenge = None
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            challenge = {"## ICASSP 2024": "ICASSP 2024", "## CAD1, task 1": "CAD1"}.get(line)
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if challenge and len(cells) == 4 and not set(cells[0]) <= set("-") and cells[0] != "step":
            yield f"{challenge}: {cells[0]}", cells[3]


ROWS = dict(rows())


def test_the_document_has_every_step_and_no_other() -> None:
    assert list(ROWS) == list(MEASURES)


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("step", MEASURES)
def test_a_step_is_the_recipes(step: str, tmp_path: Path) -> None:
    allowed = float(ROWS[step].removesuffix(" LSB"))
    assert MEASURES[step](tmp_path) <= allowed


def test_the_recipe_fades_the_end_of_every_stem_and_we_do_not(tmp_path: Path) -> None:
    ours, others = separated(tmp_path)
    assert gap(ours[:, -FADED:], others[:, -FADED:]) > 1e-3
    # It fades what the network returns, before the mixture's mean is added again.
    mean = SCENES[0].mixture.mean()
    faded = (ours[:, -FADED:] - mean) * np.linspace(1, 0, FADED)[:, None] + mean
    assert gap(faded, others[:, -FADED:]) < 1e-7
