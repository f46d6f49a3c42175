"""The measurements that a sound attack cannot fail, and the stage that takes them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.attacks import pgd
from pipeline.common.errors import UserError
from pipeline.common.params import validate
from pipeline.cost.files import read_cost
from pipeline.evaluation.interface import Targets
from pipeline.evaluation.params import EvaluateParams
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier
from pipeline.results.files import checks_file
from pipeline.soundness.measure import OVERSHOOT, ChecksParams, measure
from stages import check as stage
from tests.support.classifiers import CPU, Hand, Net, fit, make_targets, only_right, settings
from tests.support.tiny_project import evaluate_params, keep_one_class, tiny_project, write_params

RADII = [8.0, 1.0, 2.0, 4.0]  # in any order


def checks(**changes: Any) -> ChecksParams:
    values = evaluate_params()["checks"] | {"epsilons_255": RADII, "steps": 8}
    return validate(values | changes, ChecksParams, "params.yaml: evaluate.checks")


def params(**changes: Any) -> EvaluateParams:
    return EvaluateParams.model_validate(evaluate_params(**changes))


def linear_classifier(brightness: list[float]) -> tuple[ZeroShotClassifier, Targets]:
    """Right above a mean pixel of one half: an image of 128 + b falls exactly where the radius
    passes b + 1/2, so that every count is known."""

    def features(images: Tensor) -> Tensor:
        mean = images.mean((1, 2, 3)) - 0.5
        return torch.stack([mean, -mean], dim=1)

    pixels = np.stack([np.full((3, 6, 6), 128 + b, dtype=np.uint8) for b in brightness])
    count = len(brightness)
    encoder: Any = Hand(features)
    classifier = ZeroShotClassifier(
        encoder, torch.eye(2), torch.eye(2), torch.eye(2)[:, None], 10.0
    )
    return classifier, Targets(pixels, np.arange(count), np.zeros(count, dtype=np.int64))


def test_the_counts_are_those_of_a_classifier_that_is_known():
    classifier, targets = linear_classifier([0, 1, 2, 3, 5, 7, 9, 40])
    measured = measure(classifier, targets, checks(), params(), 4, CPU)
    # b + 0.5 > radius stays
    assert measured["curve"] == [[0.0, 8], [1.0, 7], [2.0, 6], [4.0, 4], [8.0, 2]]
    assert measured["large"] == [64, 0]
    assert measured["steps"] == [[2, 4], [4, 4], [8, 4], [16, 4]]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_curve_falls_from_clean_on_a_smooth_net(norm):
    targets = make_targets(30, 5)
    classifier = fit(Net(), targets)
    right = only_right(classifier, targets)
    evaluate_params, epsilon_255 = params(norm=norm), 6 if norm == "linf" else 30
    radii = RADII if norm == "linf" else [8 * r for r in RADII]
    measured = measure(
        classifier,
        right,
        checks(epsilons_255=radii, large_epsilon_255=2000),
        evaluate_params,
        epsilon_255,
        CPU,
    )
    counts = [count for _, count in measured["curve"]]
    assert measured["curve"][0] == [0.0, len(right.labels)]
    assert [e for e, _ in measured["curve"]] == [0.0, *sorted(radii)]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] < counts[1] <= counts[0]
    assert measured["large"][1] == 0
    ladder = [count for _, count in measured["steps"]]
    assert [steps for steps, _ in measured["steps"]] == [2, 4, 8, 16]
    assert max(ladder) - min(ladder) <= 2, "the step size follows the number of steps"


def test_every_number_of_steps_can_cross_the_ball():
    """From the far corner to the near one are two radii: OVERSHOOT leaves some to spare."""
    classifier, targets = linear_classifier([0])
    worst = np.full((3, 6, 6), 4 / 255, dtype=np.float32)  # the brightest point of the ball
    for steps in (1, 2, 5, 20):
        options = pgd.Params(
            steps=steps,
            step_255=OVERSHOOT * 4 / steps,
            restarts=1,
            random_start=True,
            momentum=0.0,
        )
        s = settings(1, epsilon=4 / 255, follow=np.ones(1, bool), examples=np.array([0]))
        blind = ZeroShotClassifier(
            classifier.encoder,
            classifier.attacker_features * 0,
            classifier.attacker_features,
            classifier.attacker_captions,
            1,
        )
        measured = pgd.run(blind, targets, options, s._replace(starts={0: worst}))
        assert measured.fooled_at.tolist() == [-1]
        np.testing.assert_allclose(measured.perturbations, -4 / 255, atol=1e-6)


def test_nothing_right_is_nothing_measured_and_no_error():
    classifier, targets = linear_classifier([1, 2])
    none = Targets(targets.pixels, targets.numbers[:0], targets.labels[:0])
    measured = measure(classifier, none, checks(), params(), 4, CPU)
    assert {count for _, count in measured["curve"] + measured["steps"] + [measured["large"]]} == {
        0
    }


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epsilons_255", []),
        ("epsilons_255", [0.0, 1.0]),
        ("epsilons_255", [-1.0]),
        ("large_epsilon_255", 0),
        ("steps", 3),
        ("images", 0),
    ],
)
def test_what_cannot_be_measured_is_named(key, value):
    with pytest.raises(UserError, match=f"params.yaml: evaluate.checks: key '{key}"):
        checks(**{key: value})


@pytest.fixture
def project(packed: Path, clip_folder: Path) -> Path:
    return tiny_project(packed, clip_folder)


def test_the_stage_counts_the_images_that_are_right_at_first(project: Path) -> None:
    changes = {"steps": 4, "images": 9, "epsilons_255": [0.001, 4]}
    write_params(project, **{f"evaluate.checks.{key}": value for key, value in changes.items()})
    stage.main("tiny", "base")
    file = project / checks_file("tiny", "base")
    written = file.read_bytes()
    measured = json.loads(written)
    assert (measured["dataset"], measured["model"]) == ("tiny", "base")
    assert measured["epsilon_255"] == 4
    assert measured["images"] == 9
    assert [e for e, _ in measured["curve"]] == [0.0, 0.001, 4]
    clean = measured["curve"][0][1]
    assert 0 < clean < 9
    assert measured["curve"][1][1] == clean, "nearly no ball: what is right stays right"
    assert all(count <= clean for _, count in measured["curve"] + measured["steps"])
    spent = read_cost(file, project)
    assert spent is not None
    assert (spent["stage"], spent["images"]) == ("check@tiny-base", 9)
    assert spent["work"]["float32"]["ascents"] > 0
    stage.main("tiny", "base")
    assert file.read_bytes() == written
    stage.main("tiny", "finetuned")
    other = json.loads((project / checks_file("tiny", "finetuned")).read_text())
    assert other == measured | {"model": "finetuned"}, "the same weights"


def test_the_first_text_set_and_the_first_radius_are_checked(project: Path) -> None:
    changes = {"steps": 4, "images": 4, "epsilons_255": [1]}
    write_params(
        project,
        **{f"evaluate.checks.{key}": value for key, value in changes.items()},
        **{"evaluate.epsilons_255": [2.5, 4], "evaluate.texts": ["template", "absent"]},
    )
    stage.main("tiny", "base")
    assert json.loads(checks_file("tiny", "base").read_text())["epsilon_255"] == 2.5


def test_a_set_of_one_class_ends_the_stage_in_a_message(project: Path, capsys) -> None:
    write_params(project)
    keep_one_class()
    with pytest.raises(SystemExit):
        stage.main("tiny", "base")
    error = capsys.readouterr().err
    assert "params.yaml: evaluate.checks.datasets: set 'tiny' has 1 class" in error
    assert not (project / "data/checks").exists()


def test_a_radius_of_zero_ends_the_stage_in_a_message(project: Path, capsys) -> None:
    write_params(project, **{"evaluate.checks.epsilons_255": [0, 4]})
    with pytest.raises(SystemExit):
        stage.main("tiny", "base")
    assert "evaluate.checks: key 'epsilons_255.0'" in capsys.readouterr().err
    assert not (project / "data/checks").exists()
