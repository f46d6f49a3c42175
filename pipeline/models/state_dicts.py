"""State dicts of image encoders, as other projects save them.

Accepted: the keys of OpenAI's or open_clip's `model.visual`, bare or under
`vision_encoder_state_dict` (SAFT, TGA-ZSR and the code they descend from), `state_dict` or
`model`; with or without `module.` (DataParallel) and `visual.`; of a whole CLIP the image half.
Nothing is unpickled but tensors, plain containers and numpy's numbers.
"""

import argparse
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pipeline.common.errors import UserError, listed, one_line

WRAPPERS = ("vision_encoder_state_dict", "state_dict", "model")
DATA_PARALLEL, VISUAL = "module.", "visual."
# what the rest of a CLIP is called, in open_clip's first layout and in its later one
OTHER_PARTS = (
    "positional_embedding", "text_projection", "logit_scale", "logit_bias", "attn_mask",
    "token_embedding.", "ln_final.", "transformer.", "text.", "input_resolution",
    "context_length", "vocab_size",
)  # fmt: skip
# checkpoints hold an accuracy as a number of numpy's and their options as a Namespace: data only
_scalar = np.float64(0).__reduce__()[0]
SAFE_GLOBALS: list[Any] = [
    argparse.Namespace,
    np.dtype,
    *(type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64)),
    (_scalar, "numpy._core.multiarray.scalar"),
    (_scalar, "numpy.core.multiarray.scalar"),
]
SHOWN = 3
State = dict[str, Tensor]


def read(path: Path) -> State:
    """Weights of an image encoder in float32, under the names of `model.visual`.

    Raises:
        UserError: no such file, no checkpoint, code in the pickle, no state dict in it, or keys
            of which only some have a prefix.
    """
    if not path.is_file():
        raise UserError(f"{path}: not found; base_model.options.checkpoint.file names a file")
    checkpoint = _load_safetensors(path) if path.suffix == ".safetensors" else _unpickle(path)
    state = _unprefixed(_state_dict(checkpoint, path), path)
    return {
        key: value.float() if value.is_floating_point() else value for key, value in state.items()
    }


def load_strictly(visual: nn.Module, state: State, path: Path, model: str) -> None:
    """Put `state` into `visual`, every weight of it.

    Raises:
        UserError: keys are missing, unexpected or of another shape, or values are not finite.
    """
    expected = visual.state_dict()
    shapes = [
        f"{key} {tuple(state[key].shape)} for {tuple(expected[key].shape)}"
        for key in expected
        if key in state and state[key].shape != expected[key].shape
    ]
    mismatches = {
        "missing": [key for key in expected if key not in state],
        "unexpected": [key for key in state if key not in expected],
        "of another shape": shapes,
    }
    parts = [
        f"{len(keys)} {kind} ({listed(keys, SHOWN)})" for kind, keys in mismatches.items() if keys
    ]
    if parts:
        raise UserError(f"{path}: does not fit the image encoder of {model}: {'; '.join(parts)}")
    broken = [key for key, value in state.items() if not value.isfinite().all()]
    if broken:
        raise UserError(
            f"{path}: {len(broken)} weights are not finite ({listed(broken, SHOWN)}); "
            "choose another checkpoint"
        )
    visual.load_state_dict(state, strict=True)


def _load_safetensors(path: Path) -> Any:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a safetensors file: {one_line(error)}") from None


def _unpickle(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals(SAFE_GLOBALS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it warns about, TorchScript, is refused below
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        text = str(error)
        if "GLOBAL" in text or "Unsupported class" in text:
            raise UserError(
                f"{path}: holds more than weights, and unpickling that runs its code "
                f"({_refused_name(text)}); where you trust it, save its state dict alone, see "
                "docs/weights.md"
            ) from None
        raise UserError(f"{path}: not a checkpoint: torch.load cannot read it") from None
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError) as error:
        if "TorchScript" in str(error):
            raise UserError(
                f"{path}: a TorchScript archive, which holds code; save its state dict alone, "
                "see docs/weights.md"
            ) from None
        raise UserError(f"{path}: not a checkpoint: {one_line(error)}") from None


def _state_dict(checkpoint: Any, path: Path) -> State:
    """The dictionary of tensors in a checkpoint, out of its wrappers."""
    for _ in WRAPPERS:  # each at most once
        if isinstance(checkpoint, dict):
            checkpoint = next(
                (checkpoint[k] for k in WRAPPERS if isinstance(checkpoint.get(k), dict)), checkpoint
            )
    if not isinstance(checkpoint, dict) or not checkpoint:
        raise UserError(f"{path}: holds no state dict, but {type(checkpoint).__name__}")
    other = [str(key) for key, value in checkpoint.items() if not isinstance(value, Tensor)]
    if other or not all(isinstance(key, str) for key in checkpoint):
        raise UserError(
            f"{path}: no state dict, bare or under {', '.join(WRAPPERS)}: {len(other)} of its "
            f"{len(checkpoint)} entries are no tensors ({listed(other, SHOWN)})"
        )
    return dict(checkpoint)


def _unprefixed(state: State, path: Path) -> State:
    """The keys without `module.` and `visual.`, in either order; of a whole CLIP, `visual.*`.

    For example "module.visual.proj" and "visual.module.proj" become "proj".
    """
    for prefix in (DATA_PARALLEL, VISUAL, DATA_PARALLEL):
        bare = [key for key in state if not key.startswith(prefix)]
        if len(bare) == len(state):
            continue
        if prefix == VISUAL and bare and all(key.startswith(OTHER_PARTS) for key in bare):
            print(f"{path.name}: a whole CLIP; taken is its image encoder ({VISUAL}*)", flush=True)
            state = {key: value for key, value in state.items() if key.startswith(prefix)}
        elif bare:
            raise UserError(
                f"{path}: {len(state) - len(bare)} keys begin with '{prefix}', {len(bare)} do "
                f"not ({listed(bare, SHOWN)}); expected the weights of one image encoder"
            )
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _refused_name(text: str) -> str:
    """The name that torch.load refuses: the word after GLOBAL, or after "class"."""
    words = text.replace("`", " ").split()
    for mark in ("GLOBAL", "class"):
        if mark in words[:-1]:
            return words[words.index(mark) + 1]
    return "unknown"
