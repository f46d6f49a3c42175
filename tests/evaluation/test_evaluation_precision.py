"""Attacks in bf16 with verdicts in float32: no error is made up, and a weak one is noticed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.attacks import apgd_ce, pgd
from pipeline.clip import model as clip
from pipeline.clip.precision import describe_precision, frozen_copy
from pipeline.common.errors import UserError
from pipeline.common.params import validate
from pipeline.evaluation.interface import Outcome, Targets
from pipeline.evaluation.params import EvaluateParams
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier
from pipeline.soundness.measure import ChecksParams, measure
from pipeline.soundness.measurements import PrecisionCounts
from pipeline.soundness.measurements import check_precision as precision_check
from tests.support.classifiers import CPU, fit, make_targets, only_right, settings
from tests.support.tiny_project import evaluate_params

N, C, SIZE = 40, 5, 16
EPSILON = 1.5 / 255
BAND = 1.0


@pytest.fixture
def encoder(clip_folder: Path) -> clip.ImageEncoder:
    return clip.image_encoder(clip.load(clip_folder)).eval()


@pytest.fixture
def targets(encoder: clip.ImageEncoder) -> Targets:
    some = make_targets(N, C, size=SIZE)
    return only_right(fit(encoder, some), some)


def lowered(encoder: clip.ImageEncoder, targets: Targets, ascended: Any) -> ZeroShotClassifier:
    """A classifier that attacks go through by `ascended`; without it, in float32."""
    plain = fit(encoder, make_targets(N, C, size=SIZE))
    texts = plain.class_features, plain.attacker_features, plain.attacker_captions
    return (
        ZeroShotClassifier(encoder, *texts, plain.scale, ascended=ascended)
        .requires_grad_(False)
        .eval()
    )


def run(
    classifier: ZeroShotClassifier, targets: Targets, module: Any = pgd, band: float = BAND
) -> Outcome:
    count = len(targets.labels)
    s = settings(count, epsilon=EPSILON, batch_size=16, examples=np.arange(count), guard_band=band)
    if module is pgd:
        options: Any = pgd.Params(
            steps=10, step_255=0.5, restarts=1, random_start=True, momentum=0.0
        )
    else:
        options = apgd_ce.Params(steps=10, restarts=1)
    return module.run(classifier, targets, options, s)


@pytest.mark.parametrize("module", [pgd, apgd_ce])
def test_no_break_in_bf16_is_a_false_one(module, encoder, targets):
    classifier = lowered(encoder, targets, frozen_copy(encoder, "bf16", False))
    outcome = run(classifier, targets, module)
    exact = run(classifier.in_float32(), targets, module, 0.0)
    fooled = outcome.fooled_at >= 0
    assert 3 < fooled.sum() < len(fooled), "the case must have both"
    images, labels = targets.read(slice(None), CPU)
    adversarial = (images + torch.from_numpy(outcome.perturbations)).clamp(0, 1)
    with torch.no_grad():
        wrong = (classifier.in_float32()(adversarial).argmax(1) != labels).numpy()
    assert (wrong == fooled).all(), "float32 on the pixels has the last word"
    assert ((exact.fooled_at >= 0) != fooled).mean() < 0.15
    assert 0 < outcome.largest_difference < BAND / 2
    assert outcome.judged > fooled.sum()


def test_a_forward_that_is_too_far_off_stops_the_attack(encoder, targets):
    classifier = lowered(encoder, targets, frozen_copy(encoder, "bf16", False))
    with pytest.raises(UserError, match=r"more than half of evaluate.guard_band \(1e-05\)"):
        run(classifier, targets, band=1e-5)


class Weak(nn.Module):
    """The encoder's values, and gradients of random sign: what too coarse numbers would give."""

    def __init__(self, encoder: clip.ImageEncoder) -> None:
        super().__init__()
        self.encoder, self.image_size = encoder, encoder.image_size

    def forward(self, images: Tensor) -> Any:
        noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
        misled = images.detach() + (images - images.detach()) * noise
        return self.encoder(misled)


def check_params(steps: int = 8) -> tuple[ChecksParams, EvaluateParams]:
    values = evaluate_params()["checks"] | {"epsilons_255": [1.0], "steps": steps}
    checks = validate(values, ChecksParams, "params.yaml: evaluate.checks")
    changes = {"precision": "bf16", "guard_band": BAND}
    return checks, EvaluateParams.model_validate(evaluate_params(**changes))


def test_a_planted_weak_attack_is_caught_by_the_precision_check(encoder, targets):
    checks, params = check_params()
    passed = {}
    for name, ascended in (("bf16", frozen_copy(encoder, "bf16", False)), ("weak", Weak(encoder))):
        classifier = lowered(encoder, targets, ascended)
        counts = PrecisionCounts.model_validate(
            measure(classifier, targets, checks, params, 255 * EPSILON, CPU)["precision"]
        )
        passed[name] = precision_check("x", counts, len(targets.labels)).passed
        assert counts.right_in_float32 < 0.9 * len(targets.labels), "float32 must find something"
    assert passed == {"bf16": True, "weak": False}


def test_float32_has_nothing_to_compare(encoder, targets):
    checks, params = check_params()
    plain = params.model_copy(update={"precision": "float32"})
    classifier = lowered(encoder, targets, None)
    assert measure(classifier, targets, checks, plain, 255 * EPSILON, CPU)["precision"] is None
    assert (plain.band, params.band) == (0.0, BAND)
    compiled = plain.model_copy(update={"compile": True})
    assert compiled.band == BAND
    assert (
        measure(classifier, targets, checks, compiled, 255 * EPSILON, CPU)["precision"]["name"]
        == "compiled float32"
    )


def test_a_threat_model_says_what_is_computed_in_what():
    assert describe_precision("float32", False) == "float32"
    assert describe_precision("bf16", False) == "attack bf16, verdict float32"
    assert describe_precision("float32", True) == "attack compiled float32, verdict float32"
