"""What the report tells of a training with a validation set."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.common.errors import UserError
from pipeline.report import page
from pipeline.report.inputs import read_inputs
from pipeline.report.training import LOG, RECIPE
from pipeline.report.training_log import CURVE, read_log
from stages import report as stage
from tests.support.report_inputs import PARAMS

SECTION = {"dataset": "held", "images": None, "every": 10, "steps": 3, "patience": 2}
SECTION |= {"keep_best": False}
VALUES = {9: (0.75, 0.25), 19: (0.7, 0.5), 29: (0.65, 0.4)}
COLUMNS = ",validation_clean_accuracy,validation_robust_accuracy"


def validate(tree: Path, planned: int = 30, **changes: object) -> None:
    """Let the training of the tree be one with a validation."""
    section = SECTION | changes
    recipe = json.loads((tree / RECIPE).read_text())
    recipe["validation"] = section | {"norm": "linf", "epsilon_255": 4.0, "step_255": 2.0}
    recipe |= {"best_step": 19, "saved_step": 29, "planned_steps": planned}
    (tree / RECIPE).write_text(json.dumps(recipe))
    header, *rows = (tree / LOG).read_text().splitlines()
    cells = [VALUES.get(step, ("", "")) for step in range(len(rows))]
    rows = [f"{row},{clean},{robust}" for row, (clean, robust) in zip(rows, cells, strict=True)]
    (tree / LOG).write_text("\n".join([header + COLUMNS, *rows]) + "\n")
    params = PARAMS.replace("{dataset: none}", json.dumps(section))
    (tree / "params.yaml").write_text(params)


def test_the_page_and_the_plot_have_the_validation(tree):
    stage.main()
    assert "Validated on" not in page.PAGE.read_text()
    assert CURVE.read_text() == "step,clean,robust\n"
    validate(tree)
    stage.main()
    text = page.PAGE.read_text()
    assert "Validated on “held” every 10 steps and after the last one" in text
    assert "3 steps of PGD (l∞, ε = 4/255" in text
    assert "highest after 20 of 30 steps. Saved are the last weights." in text
    assert 'alt="Accuracy on the validation set over the optimiser steps"' in text
    assert CURVE.read_text() == "step,clean,robust\n9,0.75,0.25\n19,0.7,0.5\n29,0.65,0.4\n"


def test_the_page_tells_of_an_early_end_and_of_the_best_weights(tree):
    validate(tree, planned=90, keep_best=True)
    stage.main()
    text = page.PAGE.read_text()
    assert "training stopped after 30 of 90 steps, for 2 validations since the warm-up" in text
    assert "Saved are the weights of then." in text


@pytest.mark.parametrize("key", [*SECTION, "none"])
def test_a_validation_other_than_that_of_params_yaml_is_refused(tree, key):
    validate(tree)
    recipe = json.loads(RECIPE.read_text())
    if key == "none":
        recipe["validation"] = None
    else:
        recipe["validation"][key] = {"dataset": "other", "keep_best": True}.get(key, 1)
    RECIPE.write_text(json.dumps(recipe))
    name = "dataset" if key == "none" else key
    with pytest.raises(UserError, match=rf"validation\.{name}.*finetune\.validation\.{name}"):
        read_inputs()


def test_a_step_that_was_not_validated_has_empty_cells_and_no_other_has(tree):
    validate(tree)
    log = read_log(LOG)
    assert np.flatnonzero(~np.isnan(log["validation_robust_accuracy"])).tolist() == list(VALUES)
    text = LOG.read_text()
    for damaged in (
        text.replace("0.75", "nan"),
        text.replace("0.75", "inf"),
        text.replace("0.65,0.4\n", ",\n"),
        text.replace("\n3,", "\n3,,", 1),
        text.replace(text.splitlines()[5].split(",")[2], "", 1),
    ):
        assert damaged != text
        LOG.write_text(damaged)
        with pytest.raises(UserError, match="not a table of numbers"):
            read_log(LOG)
