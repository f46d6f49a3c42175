"""The report's section on cost: what follows from the settings alone.

Times differ from run to run and the page must not: `saft cost` shows them.
"""

from typing import Any

from pipeline.report.inputs import Inputs, TrainedOn
from pipeline.results.evaluated import MODELS


def cost_view(inputs: Inputs) -> list[dict[str, Any]]:
    """A row for the training and one for each evaluation: the images, and the most steps of an
    attack (a forward and a gradient each) that they take."""
    rows = [_training(inputs.recipe)]
    for evaluated in [*inputs.sets, *inputs.other_texts]:
        rows += [
            {
                "stage": f"{metrics.title} on {metrics.dataset}, texts “{metrics.texts.name}”",
                "images": f"{metrics.images:,} × {len(MODELS)} models",
                "steps": f"at most {metrics.images * len(MODELS) * metrics.budget:,}",
            }
            for metrics in (result.metrics for result in evaluated.attacks)
        ]
    return rows


def _training(recipe: TrainedOn) -> dict[str, Any]:
    images = recipe.epochs * recipe.images
    steps = recipe.attack.steps if recipe.attack else 0
    return {
        "stage": f"training, {recipe.steps:,} steps of the optimiser",
        "images": f"{recipe.images:,} × {recipe.epochs} epochs",
        "steps": f"{images * steps:,}",
    }
