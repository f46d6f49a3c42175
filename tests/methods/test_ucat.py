"""UCAT's divergence at the published temperature, where concentrations reach 1e12."""

import math

import mpmath
import pytest
import torch
from torch import Tensor

from pipeline.methods.ucat import Params, Ucat, dirichlet_divergence

TEMPERATURE = 0.07


def exact(cosines: Tensor, target: Tensor) -> float:
    """KL of one image with 60 digits."""
    with mpmath.workdps(60):
        first, second = (
            [mpmath.mpf("1e-6") + mpmath.exp((c + 1) / mpmath.mpf(TEMPERATURE)) for c in values]
            for values in (cosines.double().tolist(), target.double().tolist())
        )
        totals = [sum(values) for values in (first, second)]
        divergence = mpmath.loggamma(totals[0]) - mpmath.loggamma(totals[1])
        for a, b in zip(first, second, strict=True):
            divergence += mpmath.loggamma(b) - mpmath.loggamma(a)
            divergence += (a - b) * (mpmath.digamma(a) - mpmath.digamma(totals[0]))
        return float(divergence)


@pytest.mark.parametrize(
    ("cosines", "target"),
    [
        ([0.2, 0.25, 0.31], [0.33, 0.2, 0.22]),  # as CLIP's are
        ([0.95, 0.1, -0.2], [0.99, 0.12, -0.25]),
        ([-0.9, -0.8, -0.99], [-0.95, -0.7, -0.9]),
    ],
)
def test_the_divergence_is_exact_where_float32_is_not(cosines, target):
    first, second = torch.tensor([cosines]), torch.tensor([target])
    expected = exact(first[0], second[0])
    assert dirichlet_divergence(first, second, TEMPERATURE).item() == pytest.approx(expected, 1e-6)
    assert dirichlet_divergence(first, first, TEMPERATURE).item() == pytest.approx(0, abs=1e-3)


def test_the_published_weight_takes_the_largest_concentration_out():
    values = {"learning_rate": None, "calibration": 1e5, "temperature": TEMPERATURE}
    params = Params.model_validate(values | {"clean_model": "base"})
    objective = Ucat(params, torch.eye(3), 100.0, torch.zeros(4, 3))
    assert objective.weight == pytest.approx(1e5 / math.exp(2 / TEMPERATURE), rel=1e-9)


@pytest.mark.parametrize("temperature", [0.01, 100.0])
def test_the_ends_of_the_temperature_are_finite(temperature):
    first = torch.tensor([[1.0, -1.0, 0.2]], requires_grad=True)
    divergence = dirichlet_divergence(first, torch.tensor([[0.9, -1.0, 0.3]]), temperature).sum()
    (divergence / math.exp(2 / temperature)).backward()  # about the published weight
    assert divergence.isfinite()
    assert first.grad.isfinite().all()
