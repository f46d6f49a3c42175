"""Size, work and memory of open_clip's vision transformer, from its config alone.

Legend: L blocks of width W, M hidden units of the MLP, T tokens with the class token, H heads,
patches of p x p pixels, D joint width; everything per image. A multiply-add is two FLOPs.
"""

from typing import Any, NamedTuple

from pipeline.clip.precision import Precision
from pipeline.common.errors import UserError

FLOAT = 4  # bytes
BLOCK_NUMBER = {"float32": 4, "tf32": 4, "bf16": 2}  # bytes of one in the products of the blocks
# matrix products in the backward of fused attention, which computes the scores again, per one of
# its two in the forward
ATTENTION_BACKWARD = 2.5


class Vit(NamedTuple):
    """Image and patch side in pixels, W, L, H, M, D; quick: QuickGELU, two elementwise steps."""

    image_size: int
    patch: int
    width: int
    layers: int
    heads: int
    hidden: int
    output: int
    quick: bool

    @property
    def tokens(self) -> int:
        """T: the patches and the class token."""
        return 1 + (self.image_size // self.patch) ** 2


def read(model_cfg: dict[str, Any]) -> Vit:
    """The image half of an open_clip model_cfg.

    Raises:
        UserError: it is not a plain vision transformer.
    """
    vision = model_cfg["vision_cfg"]
    layers = vision.get("layers", 12)
    if "timm_model_name" in vision or not isinstance(layers, int):
        raise UserError("the image encoder is no open_clip ViT: its work cannot be estimated")
    width = vision.get("width", 768)
    return Vit(
        image_size=vision.get("image_size", 224),
        patch=vision.get("patch_size", 16),
        width=width,
        layers=layers,
        heads=width // vision.get("head_width", 64),
        hidden=int(width * vision.get("mlp_ratio", 4.0)),
        output=model_cfg["embed_dim"],
        quick=bool(model_cfg.get("quick_gelu", False)),
    )


def block_weights(width: int, hidden: int) -> int:
    """Weights of a block: attention 4 W^2 + 4 W, MLP 2 W M + M + W, two norms 4 W."""
    return 4 * width**2 + 2 * width * hidden + hidden + 9 * width


def matrix_weights(vit: Vit, blocks: int) -> int:
    """Weights of the matrices of some blocks: 4 W^2 + 2 W M each."""
    return blocks * (4 * vit.width**2 + 2 * vit.width * vit.hidden)


def weights(vit: Vit) -> int:
    """Weights of the image encoder."""
    return trained_weights(vit, range(vit.layers))


def trained_weights(vit: Vit, trained: range, rank: int | None = None) -> int:
    """Weights of the blocks at some positions, with what comes before the first block of all and
    after the last, where they are among them. rank: of LoRA, whose factors of their matrices are
    all that is trained then."""
    if rank is not None:  # (rows + columns) of W x 3W, W x W, W x M, M x W
        return len(trained) * rank * (8 * vit.width + 2 * vit.hidden)
    before = 3 * vit.patch**2 * vit.width + (1 + vit.tokens) * vit.width + 2 * vit.width
    after = 2 * vit.width + vit.width * vit.output
    blocks = len(trained) * block_weights(vit.width, vit.hidden)
    return (
        blocks
        + (before if trained.start == 0 else 0)
        + (after if trained.stop == vit.layers else 0)
    )


def text_weights(model_cfg: dict[str, Any]) -> int:
    """Weights of open_clip's own text encoder, with the logit scale."""
    text = model_cfg["text_cfg"]
    width = text["width"]
    blocks = text["layers"] * block_weights(width, 4 * width)
    tokens = text.get("vocab_size", 49408) + text.get("context_length", 77)
    return tokens * width + blocks + 2 * width + width * model_cfg["embed_dim"] + 1


def _linear(vit: Vit) -> int:
    """FLOPs of a block's matrix products with weights: 2 T (4 W^2 + 2 W M)."""
    return 2 * vit.tokens * (4 * vit.width**2 + 2 * vit.width * vit.hidden)


def _attention(vit: Vit) -> int:
    """FLOPs of a block's scores and their product with the values: 4 T^2 W."""
    return 4 * vit.tokens**2 * vit.width


def _patches(vit: Vit) -> int:
    return 2 * (vit.tokens - 1) * 3 * vit.patch**2 * vit.width


def _projection(vit: Vit) -> int:
    return 2 * vit.width * vit.output


def forward_flop(vit: Vit) -> float:
    """FLOPs of encoding an image: patches + L (linear + attention) + projection."""
    blocks = vit.layers * (_linear(vit) + _attention(vit))
    return _patches(vit) + blocks + _projection(vit)


def ascend_flop(vit: Vit) -> float:
    """FLOPs of a step of an attack: a forward and the gradient for the pixels."""
    blocks = vit.layers * (_linear(vit) + ATTENTION_BACKWARD * _attention(vit))
    return forward_flop(vit) + _patches(vit) + blocks + _projection(vit)


def descend_flop(vit: Vit, trained: range | None = None) -> float:
    """FLOPs of a forward and the gradients for the weights of the blocks at some positions, None
    for all: the gradient passes through the blocks behind them."""
    chosen = range(vit.layers) if trained is None else trained
    passed = vit.layers - chosen.stop
    blocks = len(chosen) * 2 * _linear(vit) + passed * _linear(vit)
    blocks += (len(chosen) + passed) * ATTENTION_BACKWARD * _attention(vit)
    patches = _patches(vit) if chosen.start == 0 else 0
    projection = (2 if chosen.stop == vit.layers else 1) * _projection(vit)
    return forward_flop(vit) + patches + blocks + projection


def text_flop(model_cfg: dict[str, Any]) -> float:
    """FLOPs of encoding a text of full length."""
    text = model_cfg["text_cfg"]
    width, length = text["width"], text.get("context_length", 77)
    block = 2 * length * 12 * width**2 + 4 * length**2 * width
    return text["layers"] * block + 2 * width * model_cfg["embed_dim"]


def saved_bytes(vit: Vit, trained: range, pixels: bool, precision: Precision = "float32") -> int:
    """Bytes that autograd keeps of one image from forward to backward.

    A block whose weights are trained keeps both norms' inputs (2 of T W, float32) and, as its
    products compute, both norms' outputs, queries, keys, values, the attention's output (6 of T W),
    and input and output of the activation (2 of T M, one more with QuickGELU); a frozen one keeps
    no input of a product with weights: 2, and 4 of T W and 1 of T M, one more with QuickGELU.
    Beside them: T H of attention, 4 T of the norms; ln_post, ln_pre, pixels.

    Args:
        trained: positions of the blocks whose weights have gradients.
        pixels: whether the pixels have one; else the graph begins at the first trained block.
        precision: of the blocks.
    """
    tokens, quick, number = vit.tokens, int(vit.quick), BLOCK_NUMBER[precision]
    first = 0 if pixels else trained.start if trained else vit.layers
    frozen = vit.layers - first - len(trained)
    kept = len(trained) * (6 * vit.width + (2 + quick) * vit.hidden)
    kept += frozen * (4 * vit.width + (1 + quick) * vit.hidden)
    norms = (vit.layers - first) * (2 * vit.width + vit.heads + 4)
    ends = vit.width * tokens  # ln_post: its input
    if trained and trained.stop == vit.layers:  # and its output, for the projection's weights
        ends += vit.width * tokens
    if first == 0:  # ln_pre
        ends += vit.width * tokens
    if trained and trained.start == 0:  # the pixels, for the patches' weights
        ends += 3 * vit.image_size**2
    return tokens * (number * kept + FLOAT * norms) + FLOAT * ends


def transient_bytes(vit: Vit, precision: Precision = "float32") -> int:
    """Bytes of one image that the backward needs besides what was kept: gradients on both sides
    of an activation, 2 T M."""
    return BLOCK_NUMBER[precision] * 2 * vit.tokens * vit.hidden
