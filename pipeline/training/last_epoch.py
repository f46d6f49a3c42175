"""What the last epoch of a training measured, in words: no evaluation measures the same."""

from collections.abc import Mapping, Sequence

from pipeline.training.batches import steps_per_epoch
from pipeline.training.recipe import Recipe

ACCURACIES = {"clean_accuracy": "clean", "adversarial_accuracy": "under the training attack"}


def last_epoch(rows: Sequence[Mapping[str, float]], images: int, recipe: Recipe) -> str:
    """One line: the mean loss and accuracies of the last epoch, and on what they were measured.

    Args:
        rows: of the log, at least those of the last epoch; of all of a training that was stopped
            early, the last ones that make an epoch.
        images: in the training set.
    """
    steps = min(steps_per_epoch(images, recipe), len(rows))
    logged = [name for name in ("loss", *ACCURACIES) if name in rows[-1]]
    means = {name: sum(row[name] for row in rows[-steps:]) / steps for name in logged}
    measured = [f"loss {means['loss']:.4g}"]
    measured += [
        f"accuracy {100 * means[name]:.1f} % {words}"
        for name, words in ACCURACIES.items()
        if name in means
    ]
    return (
        f"finetune: last epoch, mean over its {steps} training batches, each before its step: "
        f"{', '.join(measured)}{_attack(recipe)}; evaluate measures "
        "its own images, all after the training, under its own attacks"
    )


def _attack(recipe: Recipe) -> str:
    """The training attack in brackets; nothing for a method without one."""
    attack = recipe.attack
    if attack is None:
        return ""
    return (
        f" ({attack.norm}, epsilon {attack.epsilon_255:g}/255, {attack.steps} steps of "
        f"{attack.step_255:g}/255)"
    )
