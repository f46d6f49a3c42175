"""The speed of matrix products on a device."""

from typing import Any

import pytest
import torch

from pipeline.cost import matrix_speed

CPU = torch.device("cpu")


@pytest.mark.parametrize("precision", matrix_speed.precisions(CPU))
def test_the_speed_of_products_is_that_of_a_product(precision: Any) -> None:
    """Not more than eight times away from one large product, timed here."""
    speed = matrix_speed.matrix_flop(CPU, precision)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    factor = torch.rand(1024, 1024).to(dtype)
    seconds = min(matrix_speed._timed(lambda: factor @ factor, CPU) for _ in range(3))
    assert 1 / 8 < speed / (2 * 1024**3 / seconds) < 8


def test_tf32_is_on_for_its_product_only(monkeypatch) -> None:
    seen: list[bool] = []
    multiply = torch.mm

    def spy(*factors: torch.Tensor) -> torch.Tensor:
        seen.append(torch.backends.cuda.matmul.allow_tf32)
        return multiply(*factors)

    monkeypatch.setattr(torch, "mm", spy)
    for precision, on in (("tf32", True), ("float32", False)):
        matrix_speed.matrix_flop(CPU, precision, seconds=0)  # type: ignore[arg-type]
        assert seen == [on] * (1 + matrix_speed.REPEATS)
        assert not torch.backends.cuda.matmul.allow_tf32
        seen.clear()


@pytest.mark.parametrize(("free", "side"), [(80e9, 8192), (2e9, 4096), (1e8, 1024), (1e5, 512)])
def test_the_matrices_fit_a_part_of_what_is_free(monkeypatch, free: float, side: int) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 2 * free))
    assert matrix_speed.side_that_fits(torch.device("cuda"), 4) == side
    assert matrix_speed.side_that_fits(CPU, 4) == 512
