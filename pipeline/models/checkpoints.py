"""Which weights of a checkpoint are taken: all of one state dict that fits, or none."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from pipeline.common.errors import UserError, listed
from pipeline.models import layouts, prefixes, unsupported, wrappers
from pipeline.models.layouts import VISUAL, Layout, State

POSITIONS = "visual.positional_embedding"


class Weights(NamedTuple):
    """Weights of a CLIP, or of its image encoder, under open_clip's names (`visual.*`), in the
    dtype of the file; `key` is where they were in it."""

    state: State
    layout: Layout
    key: str


def find(content: Any, key: str | None, model: nn.Module, path: Path, what: str) -> Weights:
    """The one state dict of a checkpoint that fits a CLIP or its image encoder.

    The positional embeddings of the image encoder may be those of another grid.

    Args:
        content: what the file holds, see `state_dicts.read`.
        key: the option `key`, see `wrappers.state_dicts`.
        what: the CLIP's name.

    Raises:
        UserError: no state dict fits, or several do and differ.
    """
    states = wrappers.state_dicts(content, key, path)
    expected, known = model.state_dict(), layouts.of_model(model)
    reasons: dict[str, tuple[int, str]] = {}
    fitting = []
    for name, state in states.items():
        state = prefixes.unwrapped(state)
        [match, *_] = [*prefixes.matches(state, known), None]
        if match and match.exact:
            weights = _converted(match, state, name)
            if not _wrong_shapes(weights, expected):
                fitting.append(weights)
                continue
        reasons[name] = _reason(match, state, expected, known, what)
    if not fitting:
        raise UserError(f"{path}: {_best_reason(reasons, content)}")
    return _only(fitting, path)


def _converted(match: prefixes.Match, state: State, key: str) -> Weights:
    bare = {name.removeprefix(match.prefix): value for name, value in state.items()}
    return Weights(match.layout.convert(bare), match.layout, key)


def _wrong_shapes(weights: Weights, expected: State) -> bool:
    """Whether a shape differs from the CLIP's, but for the number of positions and for a logit
    scale that is a vector of one number."""
    for name, value in weights.state.items():
        shape, outer = value.shape, expected[name].shape
        if name == POSITIONS and len(shape) == 2:
            shape, outer = shape[1:], outer[1:]
        if shape != outer and not (name in layouts.LOGITS and value.numel() == 1):
            return True
    return False


def _reason(
    match: prefixes.Match | None, state: State, expected: State, known: list[Layout], what: str
) -> tuple[int, str]:
    """(names in common, why it does not fit)."""
    kind = unsupported.kind(state)
    if match is None or 2 * match.common < len(match.layout.file_names):
        kind = kind or unsupported.classifier(state)
    common = match.common if match else 0
    if match and (several := _several(state, known)):
        return common, several
    if kind:
        return common, f"is {kind}; this is not supported"
    if match is None:
        return 0, f"its keys ({listed(list(state), 3)}) are not those of a CLIP"
    text = _foreign_text(match, state, expected)
    if text:
        return common, (
            f"is a whole CLIP whose text half does not fit the text tower of {what}: {text}; its "
            "image encoder is not taken without it: name the CLIP that it was trained from"
        )
    return common, prefixes.explain(match, state, expected, what)


def _several(state: State, known: list[Layout]) -> str:
    """Of a flat dictionary with several whole models, each under a prefix, what to do."""
    names = [
        m.prefix.rstrip(".")
        for m in prefixes.matches(state, known)
        if m.prefix and m.common == len(m.layout.file_names) and m.keys == m.layout.file_names
    ]
    # not the image encoder inside a whole CLIP: "clip.visual" beside "clip"
    names = [n for n in dict.fromkeys(names) if not any(n.startswith(f"{o}.") for o in names)]
    if len(names) < 2:
        return ""
    return f"holds the weights of {len(names)} models ({listed(names, 6)}); choose one with key:"


def _foreign_text(match: prefixes.Match, state: State, expected: State) -> str:
    """What is wrong with the text half of a whole CLIP whose image half fits; else ""."""
    layout = match.layout
    bare = {key.removeprefix(match.prefix): value for key, value in state.items()}
    image = {name: layout.names[name] for name in layout.names if name.startswith(VISUAL)}
    part = Layout(layout.title, image, layout.transposed)
    if match.other or not layout.whole or not part.file_names <= set(bare):
        return ""
    if _wrong_shapes(Weights(part.convert(bare), part, ""), expected):
        return ""
    text = {name: parts for name, parts in layout.names.items() if name not in image}
    names = {part for parts in text.values() for part in parts}
    theirs = {key: value for key, value in bare.items() if key not in part.file_names}
    return prefixes.counted(
        {
            "missing": [name for name in names if name not in theirs],
            "unexpected": [key for key in theirs if key not in names],
            "of another shape": prefixes.other_shapes(
                Layout(layout.title, text, layout.transposed), theirs, expected
            ),
        }
    )


def _best_reason(reasons: dict[str, tuple[int, str]], content: Any) -> str:
    """Why the state dict that came nearest does not fit."""
    key, (common, reason) = max(reasons.items(), key=lambda item: item[1][0])
    if not common:
        reason = unsupported.without_weights(content) or reason
        return f"is {reason}" if reason.startswith("the state of") else reason
    return f"{key}: {reason}" if key and len(reasons) > 1 else reason


def _only(fitting: list[Weights], path: Path) -> Weights:
    """The one of several that has all that the others have; a whole CLIP before its part."""
    first, *rest = sorted(fitting, key=lambda w: -len(w.state))
    for other in rest:
        if not all(_equal(value, first.state[name]) for name, value in other.state.items()):
            keys = listed([weights.key for weights in fitting], 8)
            raise UserError(
                f"{path}: holds several sets of weights that fit and differ: {keys}; choose one "
                "with key:"
            )
    return first


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one.float(), other.float())
