"""The image encoder and a zero-shot head with fixed texts as one ONNX graph."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.clip import model as clip_model
from pipeline.clip.model import Clip
from pipeline.common.errors import UserError

INPUT = "pixels"
OUTPUTS = ("features", "logits", "probabilities")


class ZeroShotGraph(nn.Module):
    """What is exported: pixels in [0, 1] in, normalisation inside.

    Args:
        class_features: (C, D) text features, see `pipeline.zeroshot.text_sets`.
    """

    mean: Tensor
    std: Tensor
    class_features: Tensor

    def __init__(self, clip: Clip, class_features: Tensor) -> None:
        super().__init__()
        preprocess = clip.config["preprocess_cfg"]
        self.visual, self.scale = clip.model.visual, clip_model.logit_scale(clip)
        self.register_buffer("mean", torch.tensor(preprocess["mean"]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(preprocess["std"]).view(1, 3, 1, 1))
        self.register_buffer("class_features", class_features)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, D) unit-norm features, (B, C) logits and (B, C) probabilities of float32
        (B, 3, S, S) pixels in [0, 1]."""
        output = self.visual((pixels - self.mean) / self.std)
        embedding = output[0] if isinstance(output, tuple) else output  # tokens come second
        features = F.normalize(embedding, dim=-1)
        logits = self.scale * (features @ self.class_features.T)
        return features, logits, logits.softmax(-1)


def check_installed() -> None:
    """Raise UserError unless the three packages of the extra `onnx` can be imported."""
    try:
        import_module("onnx")
        import_module("onnxscript")
        import_module("onnxruntime")
    except ImportError as error:
        raise UserError(
            f"--format onnx needs the package {error.name}: pip install onnx onnxruntime "
            "onnxscript, or this project with the extra onnx"
        ) from None


def program(graph: ZeroShotGraph, side: int) -> Any:
    """The graph as torch.onnx's ONNXProgram, with any number of images; same model, same graph.

    Args:
        side: of the square images, in pixels.
    """
    exported: Any = torch.onnx.export(
        graph.eval(),
        (torch.zeros(2, 3, side, side),),
        dynamo=True,
        verbose=False,
        input_names=[INPUT],
        output_names=list(OUTPUTS),
        dynamic_shapes={INPUT: {0: torch.export.Dim("batch")}},
    )
    for part in _parts(exported.model):
        part.metadata_props.clear()  # torch writes the paths of this machine's source files there
    return exported


def _parts(model: Any) -> Iterator[Any]:
    """All of a model that can carry notes."""
    yield from (model, model.graph)
    for node in model.graph.all_nodes():
        yield node
        yield from node.outputs
    yield from model.graph.inputs
    yield from model.graph.initializers.values()
