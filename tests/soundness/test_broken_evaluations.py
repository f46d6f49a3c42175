"""Evaluations that are broken on purpose: each fails a check that the sound one passes."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from torch import Tensor

from pipeline.attacks import apgd_ce, pgd
from pipeline.evaluation import fixed_step
from pipeline.evaluation.clean_predictions import clean_predictions
from pipeline.evaluation.evaluate import (
    EvaluateParams,
    accuracies,
    evaluate_attack,
    prediction_columns,
)
from pipeline.evaluation.interface import Targets
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier
from pipeline.images.classes import ClassEntry
from pipeline.results.accuracy import accuracies as accuracies_of
from pipeline.results.evaluated import AttackResult, EvaluatedSet
from pipeline.results.files import PREDICTIONS
from pipeline.results.metrics import Metrics
from pipeline.soundness.checks import run_checks
from tests.support.classifiers import (
    CPU,
    Hand,
    Net,
    Pooled,
    fit,
    make_targets,
    settings,
)
from tests.support.tiny_project import evaluate_params

N, C, EPSILON_255 = 60, 5, 16
UNDEFENDED_FALLS = "the undefended model falls (at most 5% left)"
ALIVE = "gradients are alive"
AGREE = "PGD and APGD agree (gap at most 3 points)"
PGD = {"steps": 40, "step_255": 2.0, "restarts": 1, "random_start": True, "momentum": 0.0}


@pytest.fixture(scope="module")
def targets() -> Targets:
    return make_targets(N, C)


@pytest.fixture
def classifier(targets: Targets) -> ZeroShotClassifier:
    return fit(Net(), targets)


def attacked(
    classifier: ZeroShotClassifier, targets: Targets, module: Any, options: Any
) -> AttackResult:
    """What the evaluate stage stores of an attack on the model "base"."""
    params = EvaluateParams.model_validate(evaluate_params(last_images=0, examples=0))
    clean = clean_predictions(classifier, targets, 64, CPU)
    verdicts = evaluate_attack(
        classifier, module, options, targets, params, EPSILON_255, clean, CPU
    )
    columns = prediction_columns("base", targets, verdicts)
    words = {"name": "template", "templates": ["a {}"]}
    metrics = Metrics.model_validate({
        "dataset": "x", "images": N, "dropped": 0, "classes": C, "model": "base",
        "attack": module.__name__.rpartition(".")[2], "title": module.TITLE,
        "options": options.model_dump(), "budget": 1, "norm": "linf", "epsilon_255": EPSILON_255,
        "space": "model", "pixels": 6, "precision": "float32", "guard_band": None,
        "texts": words, "attacker": words, "robust": "any", "seed": 0, "note": "",
        **accuracies(columns),
    })  # fmt: skip
    table = pa.table(columns, schema=PREDICTIONS).drop_columns("model")
    return AttackResult({"base": metrics}, {"base": table})


def checks(
    classifier: ZeroShotClassifier, targets: Targets, adaptive: bool = False, **options: Any
) -> dict[str, bool | None]:
    """Of PGD on an undefended model: check -> whether it passed."""
    results = [attacked(classifier, targets, pgd, pgd.Params(**(PGD | options)))]
    if adaptive:
        results.append(attacked(classifier, targets, apgd_ce, apgd_ce.Params(steps=40, restarts=1)))
    evaluated = EvaluatedSet(results, [ClassEntry(str(c), str(c)) for c in range(C)])
    assert accuracies_of(evaluated)["base"]["clean"] > 0.5
    return {check.name: check.passed for check in run_checks([evaluated], [], {"base": "false"})}


def test_a_sound_evaluation_passes(classifier, targets) -> None:
    passed = checks(classifier, targets, adaptive=True)
    assert (passed[UNDEFENDED_FALLS], passed[ALIVE], passed[AGREE]) == (True, True, True)


@pytest.fixture
def underflowing(monkeypatch: pytest.MonkeyPatch) -> None:
    """PGD on a mean instead of a sum, scaled by 1e-9 in half precision."""
    sound = fixed_step.cross_entropy

    def loss(classifier: ZeroShotClassifier, features: Tensor, labels: Tensor) -> Tensor:
        return (sound(classifier, features, labels) / len(labels)).half() * 1e-9

    monkeypatch.setattr(fixed_step, "cross_entropy", loss)


@pytest.mark.usefixtures("underflowing")
def test_a_loss_that_underflows_leaves_an_undefended_model_standing(classifier, targets) -> None:
    passed = checks(classifier, targets)
    assert passed[UNDEFENDED_FALLS] is False
    assert passed[ALIVE] is False


def detached(net: Net) -> Callable[[Tensor], Tensor]:
    return lambda images: net(images.detach() + 0 * images).pooled


def test_a_model_that_cuts_its_gradient_has_dead_ones(targets) -> None:
    encoder: Any = Hand(detached(Net()))
    passed = checks(fit(encoder, targets), targets)
    assert passed[ALIVE] is False
    assert passed[UNDEFENDED_FALLS] is False


def test_a_model_without_any_gradient_is_no_result(targets) -> None:
    """The attack cannot begin: no accuracy is reported as robust."""
    net = Net().requires_grad_(False)

    def features(images: Tensor) -> Pooled:
        return net(images.detach()).pooled

    encoder: Any = Hand(features)
    classifier = fit(encoder, targets)
    with pytest.raises(RuntimeError, match="does not require grad"):
        pgd.run(classifier, targets, pgd.Params(**PGD), settings(N))


def test_three_steps_that_do_not_cross_the_ball_are_noticed(classifier, targets) -> None:
    """Of 3/255 each fixed step reaches a part of the ball only; APGD fits its steps to it."""
    passed = checks(classifier, targets, adaptive=True, steps=3, step_255=1.0)
    assert passed[AGREE] is False
    assert passed[UNDEFENDED_FALLS] is False
