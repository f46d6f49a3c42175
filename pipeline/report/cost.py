"""The report's section on cost: what follows from the settings alone.

Times differ from run to run and the page must not: `saft cost` shows them.
"""

from typing import Any

from pipeline.report.inputs import Inputs
from pipeline.report.training import TrainedOn


def cost_view(inputs: Inputs) -> list[dict[str, Any]]:
    """A row for the training, if there was one, and one for each attack on a data set: the images,
    and the most steps of an attack (a forward and a gradient each) that they take."""
    rows = [_training(inputs.training.recipe)] if inputs.training else []
    for evaluated in [*inputs.sets, *inputs.further]:
        models = len(evaluated.models)
        rows += [
            {
                "stage": f"{about.title} on {about.dataset}, texts “{about.texts.name}”, "
                f"ε = {about.epsilon_255:g}/255",
                "images": f"{about.images:,} × {models} model{'s' if models > 1 else ''}",
                "steps": f"at most {about.images * models * about.budget:,}",
            }
            for about in (result.about for result in evaluated.attacks)
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
