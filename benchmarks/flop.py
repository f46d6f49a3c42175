"""FLOPs of what runs, with the formulas that torch lacks."""

from typing import Any

import torch
from torch.utils import flop_counter


def counter() -> flop_counter.FlopCounterMode:
    """FLOPs as executed; torch knows no formula for its fused attention on the CPU."""
    aten = torch.ops.aten
    return flop_counter.FlopCounterMode(
        display=False,
        custom_mapping={
            aten._scaled_dot_product_flash_attention_for_cpu: _attention_flop,
            aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward_flop,
        },
    )


def _attention_flop(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return flop_counter.sdpa_flop_count(query, key, value)


def _attention_backward_flop(
    grad: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any
) -> int:
    return flop_counter.sdpa_backward_flop_count(grad, query, key, value)
