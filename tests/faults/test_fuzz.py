"""The fuzz targets for a few seconds, from the same seeds; by hand they run for minutes."""

import pytest

from tests.faults import fuzz_answers, fuzz_decoding
from tests.faults.fuzzing import fuzz

SEED = 16


@pytest.mark.parametrize(
    "seconds", [1.0, pytest.param(5.0, marks=pytest.mark.campaign)], ids=["sample", "all"]
)
@pytest.mark.parametrize("target", [fuzz_decoding, fuzz_answers])
def test_mutated_inputs_are_read_or_refused(target, seconds):
    seeds = target.seeds()
    assert [target.attempt(data) for data in seeds] == [""] * len(seeds)
    figures = fuzz(seeds, target.attempt, seconds, SEED)
    print(f"{target.__name__}: {figures.runs} inputs, {len(figures.findings)} findings")
    assert figures.runs > 20
    assert figures.findings == []


def test_what_is_wrong_would_be_found():
    def attempt(data: bytes) -> str:
        return "not so" if b"\xff" in data else ""

    assert fuzz([b"abc" * 20], attempt, 0.1, SEED).findings
    findings = fuzz([b"abc" * 20], lambda data: str(1 // (len(data) - 60)), 0.2, SEED).findings
    assert "ZeroDivisionError: integer division or modulo by zero" in {
        wrong for _, wrong in findings
    }
