"""A folder with model.onnx and, beside it, all that one has to know to use it: model.json."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.clip.model import Clip, image_encoder, to_float_pixels
from pipeline.common.errors import UserError
from pipeline.common.tables import write_json
from pipeline.zeroshot.text_sets import TextSet
from saft.export import probe
from saft.export.onnx_graph import INPUT, OUTPUTS, ZeroShotGraph, program
from saft.inference.labels import Labels

MODEL_FILE, ABOUT_FILE = "model.onnx", "model.json"
MOST_INSIDE = 1_900_000_000  # bytes of weights within a file of at most 2 GB
TOLERANCE = 1e-4  # of features of norm 1, cosines and probabilities
BATCHES = (1, 3, 4)  # images at once, to show that any number is taken


def write(clip: Clip, texts: TextSet, labels: Labels, folder: Path) -> None:
    """Write model.onnx, its weights beside it where they exceed 2 GB, and model.json."""
    side = clip.model.visual.image_size[0]
    graph = ZeroShotGraph(clip, torch.from_numpy(texts.class_features))
    size = sum(value.numel() * value.element_size() for value in graph.state_dict().values())
    exported = program(graph, side)
    exported.save(folder / MODEL_FILE, external_data=size > MOST_INSIDE)
    write_json(folder / ABOUT_FILE, about(clip, texts, labels, exported))


def about(clip: Clip, texts: TextSet, labels: Labels, exported: Any) -> dict[str, Any]:
    """model.json: input, outputs, preprocessing, and the classes in the order of the logits."""
    side, preprocess = clip.model.visual.image_size[0], clip.config["preprocess_cfg"]
    classes, width = len(labels.classes), texts.captions.shape[-1]
    return {
        "file": MODEL_FILE,
        "opset": exported.model.opset_imports[""],
        "input": {
            "name": INPUT,
            "dtype": "float32",
            "shape": ["batch", 3, side, side],
            "layout": "RGB, channels first",
            "range": [0, 1],
        },
        "outputs": {
            "features": {"shape": ["batch", width], "what": "image features of unit norm"},
            "logits": {"shape": ["batch", classes], "what": "scaled cosines with the classes"},
            "probabilities": {"shape": ["batch", classes], "what": "softmax of the logits"},
        },
        "preprocessing": {
            "size": [side, side],
            "resize_mode": preprocess.get("resize_mode") or "shortest",
            "interpolation": preprocess.get("interpolation") or "bicubic",
            "fill_color": preprocess.get("fill_color") or 0,
            "mean": list(preprocess["mean"]),
            "std": list(preprocess["std"]),
            "normalisation": "inside the graph: divide by 255 and nothing else",
        },
        "classes": [{"id": entry.class_id, "name": entry.name} for entry in labels.classes],
        "texts": {
            "name": texts.name,
            "templates": texts.templates,
            "sentences": None if texts.templates else labels.table.texts,
        },
    }


def check(folder: Path, clip: Clip, texts: TextSet) -> str:
    """Run the written file with ONNX Runtime beside the pipeline's own encoder; one line on it.

    Raises:
        UserError: features, cosines or probabilities differ by more than TOLERANCE.
    """
    runtime: Any = import_module("onnxruntime")
    import_module("onnx.checker").check_model(folder / MODEL_FILE)
    session = runtime.InferenceSession(folder / MODEL_FILE, providers=["CPUExecutionProvider"])
    images = probe.make(clip.model.visual.image_size[0]).pixels.transpose(0, 3, 1, 2)
    pixels = to_float_pixels(images, torch.device("cpu"))
    graph = ZeroShotGraph(clip, torch.from_numpy(texts.class_features))
    expected = _expected(clip, texts, pixels, graph.scale)
    largest = 0.0
    for count in BATCHES:
        outputs = session.run(list(OUTPUTS), {INPUT: pixels[:count].numpy()})
        for name, values in zip(OUTPUTS, outputs, strict=True):
            unit = graph.scale if name == "logits" else 1.0
            difference = np.abs(values - expected[name][:count].numpy()).max() / unit
            largest = float(np.maximum(largest, difference))  # a NaN stays
    reader = f"onnxruntime {runtime.__version__}"
    if not largest <= TOLERANCE:
        raise UserError(
            f"run by {reader}, features, cosines or probabilities differ from the model's by "
            f"{largest:.1e}, over {TOLERANCE:g}; nothing is written"
        )
    return (
        f"run by {reader} on {len(images)} images, {', '.join(map(str, BATCHES))} at once: "
        f"features, cosines and probabilities differ from the model's by at most {largest:.1e}"
    )


@torch.no_grad()
def _expected(clip: Clip, texts: TextSet, pixels: Tensor, scale: float) -> dict[str, Tensor]:
    """By the pipeline's own encoder, whose fused parts the exported graph has not."""
    features = image_encoder(clip)(pixels).pooled
    logits = scale * (features @ torch.from_numpy(texts.class_features).T)
    return dict(zip(OUTPUTS, (features, logits, logits.softmax(1)), strict=True))
