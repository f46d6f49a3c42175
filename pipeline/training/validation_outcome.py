"""What a validation set said of a training that has ended, in numbers and in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.training.batches import total_steps
from pipeline.training.recipe import Recipe
from pipeline.training.validation import CLEAN, ROBUST

Row = Mapping[str, float]


def best_row(rows: Sequence[Row]) -> Row:
    """The row of the log with the highest robust accuracy on the validation set, the earliest of
    equals."""
    return max((row for row in rows if ROBUST in row), key=lambda row: row[ROBUST])


def told(rows: Sequence[Row], images: int, recipe: Recipe) -> dict[str, Any]:
    """What recipe.json says of it beside the section; {} without a validation. Steps count from 0,
    as in the log: after `best_step` the robust accuracy was highest, after `saved_step` the weights
    were what was saved; `planned_steps` is the number without early stopping."""
    if recipe.validation is None:
        return {}
    best = int(best_row(rows)["step"])
    saved = best if recipe.validation.keep_best else int(rows[-1]["step"])
    planned = total_steps(images, recipe)
    return {"best_step": best, "saved_step": saved, "planned_steps": planned}


def summary(rows: Sequence[Row], images: int, recipe: Recipe) -> str:
    """One line on it; "" without a validation.

    Args:
        rows: of the whole log; images: in the training set.
    """
    if recipe.validation is None:
        return ""
    best, last, planned = best_row(rows), rows[-1], total_steps(images, recipe)
    chosen = "best" if recipe.validation.keep_best else "last"
    end = ""
    if len(rows) < planned:
        end = (
            f"; stopped after {len(rows)} of {planned} steps, {recipe.validation.patience} "
            "validations since the warm-up without a better one"
        )
    return (
        f"finetune: validation on {recipe.validation.dataset}: clean {100 * last[CLEAN]:.1f} %, "
        f"robust {100 * last[ROBUST]:.1f} % at the end; robust {100 * best[ROBUST]:.1f} % at best, "
        f"after {int(best['step']) + 1} of {planned} steps; the {chosen} weights are saved{end}"
    )
