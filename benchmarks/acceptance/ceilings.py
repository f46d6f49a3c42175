"""What the device can do at best: matrix products per precision, copies, single layers."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.acceptance.context import Context
from benchmarks.acceptance.report import Result
from pipeline.clip.device import allow_tf32
from pipeline.clip.fused import PatchProduct
from pipeline.cost.matrix_speed import matrix_flop, precisions

TOWER = ((768, 2304), (768, 768), (768, 3072), (3072, 768))  # in, out: ViT-B's linear layers
ROWS = (6400, 12800)  # 128 and 256 images of 50 tokens
CALLS = 50  # of a layer in a row on CUDA: a launch and a wait take longer than one
HEADS, TOKENS, HEAD_WIDTH = 12, 50, 64


def ceilings(context: Context, result: Result) -> None:
    """`product_tflop_per_second` by precision, the tower's own shapes, and copies."""
    device = context.device
    result["product_tflop_per_second"] = {
        name: matrix_flop(device, name) / 1e12 for name in precisions(device)
    }
    result["linear_tflop_per_second"] = {
        f"{rows} x {width} -> {out}, {name}": _linear(context, rows, width, out, name)
        for name in precisions(device)
        for rows in (ROWS if context.cuda else ROWS[:1] if not context.tiny else (64,))
        for width, out in TOWER
    }
    _copies(context, result)


def _linear(context: Context, rows: int, width: int, out: int, precision: str) -> float:
    """TFLOP/s of one linear layer."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    inputs = torch.randn(rows, width, device=context.device).to(dtype)
    weight = torch.randn(out, width, device=context.device).to(dtype)
    calls = CALLS if context.cuda else 1

    def run() -> None:
        for _ in range(calls):
            F.linear(inputs, weight)

    allow_tf32(precision == "tf32")
    try:
        seconds = context.seconds(run, repeats=10) / calls
    finally:
        allow_tf32(False)
    return 2 * rows * width * out / seconds / 1e12


def _copies(context: Context, result: Result) -> None:
    """Bytes read and written per second on the device; one batch of pixels from the host."""
    source = torch.empty(2**32 if context.cuda else 2**22, dtype=torch.uint8, device=context.device)
    target = torch.empty_like(source)
    seconds = context.seconds(lambda: target.copy_(source))
    result["copy_tb_per_second"] = 2 * len(source) / seconds / 1e12
    host = torch.empty(128, 3, 224, 224, dtype=torch.uint8)
    result["batch_to_device_ms"] = {"pageable": context.seconds(lambda: host.to(context.device))}
    if context.cuda:
        pinned = host.pin_memory()
        taken = context.seconds(lambda: pinned.to(context.device, non_blocking=True))
        result["batch_to_device_ms"]["pinned"] = taken
    result["batch_to_device_ms"] = {k: 1e3 * v for k, v in result["batch_to_device_ms"].items()}


def layers(context: Context, result: Result) -> None:
    """Patch embedding as convolution and as product; the kernel that attention picks."""
    images = 128 if context.cuda else 2
    convolution = nn.Conv2d(3, 768, 32, 32, bias=False).to(context.device)
    pixels = torch.rand(images, 3, 224, 224, device=context.device)
    product = PatchProduct(convolution)
    for name, layer in (("convolution", convolution), ("product", product)):
        result[f"patch {name}"] = _patch_times(context, layer, convolution.weight, pixels)
    difference = (convolution(pixels) - product(pixels)).abs().max().item()
    result["largest_difference"] = difference
    context.report.require(difference < 1e-4, f"patch product: {difference:.1e} from convolution")
    result["attention_backend"] = {
        str(dtype): _attention_backend(images, dtype, context.device)
        for dtype in (torch.float32, torch.bfloat16)
    }


def _patch_times(
    context: Context, layer: nn.Module, weight: Tensor, pixels: Tensor
) -> dict[str, float]:
    """Milliseconds forward, and with the gradients of the input alone or of both."""

    def both(with_weight: bool) -> None:
        leaf = pixels.detach().requires_grad_()
        torch.autograd.grad(layer(leaf).sum(), [leaf, weight] if with_weight else [leaf])

    return {
        "forward_ms": 1e3 * context.seconds(lambda: layer(pixels)),
        "input_gradient_ms": 1e3 * context.seconds(lambda: both(False)),
        "both_gradients_ms": 1e3 * context.seconds(lambda: both(True)),
    }


def _attention_backend(images: int, dtype: torch.dtype, device: torch.device) -> str:
    """Name of the kernel that scaled_dot_product_attention takes under gradients."""
    query = torch.rand(images, HEADS, TOKENS, HEAD_WIDTH, device=device, dtype=dtype)
    query.requires_grad_()
    choice = torch._fused_sdp_choice(query, query, query)
    return str(torch.nn.attention.SDPBackend(choice))
