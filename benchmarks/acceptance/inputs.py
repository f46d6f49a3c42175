"""What enters a model is the same on every device: pixels, native images, text features."""

import numpy as np
import torch

from benchmarks.acceptance.context import Context
from benchmarks.acceptance.models import make_classifier, tiny_folder
from benchmarks.acceptance.report import Result
from pipeline.clip import model as clip
from pipeline.clip.text_encoding import encode_texts

CPU = torch.device("cpu")
TEXTS, TEXT_TOLERANCE = 300, 1e-4  # of unit-norm features
NATIVE_SIZE, NATIVE_TOLERANCE = 12, 1e-3  # of unit-norm features, and of their gradient's largest


def pixels(context: Context, result: Result) -> None:
    """All 256 pixel values, bit for bit, and the native-size resize with its gradient."""
    values = np.arange(256, dtype=np.uint8)
    same = clip.to_float_pixels(values, context.device).cpu() == clip.to_float_pixels(values, CPU)
    result["pixel_values_equal"] = int(same.sum())
    context.report.require(bool(same.all()), f"pixels: {256 - same.sum()} of 256 values differ")
    encoder = clip.image_encoder(clip.load(tiny_folder(context.scratch)))
    (features, gradient), (cpu_features, cpu_gradient) = (
        _native(encoder, device) for device in (context.device, CPU)
    )
    result["native_features"] = (features - cpu_features).abs().max().item()
    scale = cpu_gradient.abs().max()
    result["native_gradient"] = ((gradient - cpu_gradient).abs().max() / scale).item()
    for key in ("native_features", "native_gradient"):
        good = result[key] < NATIVE_TOLERANCE
        context.report.require(good, f"{key}: {result[key]:.1e} from the CPU's")


def _native(encoder: clip.ImageEncoder, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of images at a native size, and the gradient of the first feature."""
    classifier, targets = make_classifier(encoder, 3, 4, NATIVE_SIZE, device, resize=True)
    images, _ = targets.read(slice(None), device)
    images.requires_grad_()
    features = classifier.features(images)
    (gradient,) = torch.autograd.grad(features[:, 0].sum(), images)
    return features.detach().cpu(), gradient.cpu()


def texts(context: Context, result: Result) -> None:
    """`encode_texts` against the CPU."""
    model = clip.load(tiny_folder(context.scratch))
    names = [f"a photo of thing {i}" for i in range(TEXTS)]
    cpu = encode_texts(model, names, CPU)
    difference = (encode_texts(model, names, context.device) - cpu).abs().max().item()
    result["largest_difference"] = difference
    good = difference < TEXT_TOLERANCE
    context.report.require(good, f"text features {difference:.1e} from the CPU's")
