"""The state dicts in a checkpoint: bare, or under keys such as `state_dict` or `model_ema`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from pipeline.common.errors import UserError, listed
from pipeline.models.layouts import State

DEEPEST = 4
SHOWN = 3


def state_dicts(content: Any, key: str | None, path: Path) -> dict[str, State]:
    """Every dictionary of tensors, by the keys that lead to it, joined by dots; "" if bare.

    Args:
        key: those below this one alone, or, of a bare dictionary, the weights whose names begin
            with it and a dot; None: all.

    Raises:
        UserError: there is none, or none under `key`.
    """
    states = dict(_walk(content, ""))
    if not states:
        raise UserError(f"{path}: {_why_none(content)}")
    if key is None:
        return states
    chosen = {name: s for name, s in states.items() if f"{name}.".startswith(f"{key}.")}
    if not chosen and "" in states:
        start = f"{key}."
        inside = {n.removeprefix(start): v for n, v in states[""].items() if n.startswith(start)}
        chosen = {key: inside} if inside else {}
    if not chosen:
        names = listed(list(filter(None, states)), 8) or "no keys, it is a bare state dict"
        raise UserError(f"{path}: has no weights under '{key}', which key: names; it has {names}")
    return chosen


def _walk(content: Any, name: str) -> Iterator[tuple[str, State]]:
    if not isinstance(content, dict) or not content or name.count(".") >= DEEPEST:
        return
    if all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items()):
        yield name, dict(content)
        return
    for key, value in content.items():
        yield from _walk(value, f"{name}.{key}" if name else str(key))


def _why_none(content: Any) -> str:
    if not isinstance(content, dict) or not content:
        return f"holds no state dict, but {type(content).__name__}"
    other = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    return (
        f"no state dict, bare or under a key: {len(other)} of its {len(content)} entries are no "
        f"tensors ({listed(other, SHOWN)})"
    )
