"""The exchanged parts against open_clip's own."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from open_clip.model import CLIP
from torch import Tensor, nn

from pipeline.clip import fused
from pipeline.clip import model as clip
from tests.conftest import MODEL_CFG, SIZE

PREPROCESS = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)


def model(quick_gelu: bool) -> Any:
    torch.manual_seed(0)
    clip_model = CLIP(**MODEL_CFG, quick_gelu=quick_gelu).eval()
    nn.init.normal_(clip_model.visual.conv1.weight, std=0.5)
    for block in clip_model.visual.transformer.resblocks:  # zero as initialised
        nn.init.normal_(block.attn.in_proj_bias)
    return clip_model


def images(count: int = 5) -> Tensor:
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def gradients(visual: Any, pixels: Tensor) -> list[Tensor]:
    """Output, gradient of the pixels, and of every weight."""
    pixels = pixels.clone().requires_grad_()
    output = visual(pixels)
    output = output[0] if isinstance(output, tuple) else output
    weights = list(visual.parameters())
    return [output, *torch.autograd.grad(output.square().sum(), [pixels, *weights])]


@pytest.mark.parametrize("quick_gelu", [False, True])
def test_blocks_give_the_same_features_and_image_gradients_bit_for_bit(quick_gelu: bool):
    plain = model(quick_gelu)
    lean = copy.deepcopy(plain)
    fused.fuse_blocks(lean.visual.transformer)
    assert {type(block) for block in lean.visual.transformer.resblocks} == {fused.FusedBlock}
    gelu = type(lean.visual.transformer.resblocks[0].mlp.gelu)
    assert gelu is (fused.FusedQuickGELU if quick_gelu else nn.GELU)
    names = ["output", "images", *(name for name, _ in plain.visual.named_parameters())]
    expected, computed = (gradients(one.visual, images()) for one in (plain, lean))
    for name, one, other in zip(names, expected, computed, strict=True):
        if ".attn." in name:  # the sum over tokens and images goes in another order
            largest = one.abs().max().item()
            torch.testing.assert_close(other, one, rtol=0, atol=1e-6 * largest)
        else:
            assert torch.equal(one, other), name


def test_a_causal_mask_is_kept():
    plain = model(False)
    lean = copy.deepcopy(plain)
    fused.fuse_blocks(lean.transformer)
    tokens = torch.randint(1, 49000, (4, 16), generator=torch.Generator().manual_seed(2))
    assert torch.equal(plain.encode_text(tokens), lean.encode_text(tokens))


def test_the_patch_product_is_the_convolution():
    convolution = nn.Conv2d(3, 32, 4, 4, bias=False)
    product = fused.PatchProduct(convolution)
    assert product.weight is convolution.weight
    outputs = []
    for layer in (convolution, product):
        pixels = images().requires_grad_()
        output = layer(pixels)
        weighted = (output * torch.arange(output.numel()).view_as(output)).sum()
        outputs.append([output, *torch.autograd.grad(weighted, [pixels, layer.weight])])
    for one, other in zip(*outputs, strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * one.abs().max().item())


def test_an_encoder_has_all_three_parts_and_the_same_state_dict():
    plain = model(True)
    before = {name: value.clone() for name, value in plain.state_dict().items()}
    encoder = clip.ImageEncoder(plain.visual, *PREPROCESS)
    assert type(encoder.visual.conv1) is fused.PatchProduct
    after = plain.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    copied = copy.deepcopy(encoder)  # the weight is the copy's own
    assert copied.visual.conv1.weight is not encoder.visual.conv1.weight
    clip.ImageEncoder(encoder.visual, *PREPROCESS)  # a second time changes nothing
    assert type(encoder.visual.conv1) is fused.PatchProduct


def test_parts_of_another_kind_stay_as_they_are():
    visual = model(False).visual
    visual.conv1 = nn.Conv2d(3, 32, 4, 4, bias=True)
    visual.transformer.resblocks[0].__class__ = type(
        "Own", (type(visual.transformer.resblocks[0]),), {}
    )
    fused.fuse(visual)
    assert type(visual.conv1) is nn.Conv2d
    kinds = [type(block).__name__ for block in visual.transformer.resblocks]
    assert kinds == ["Own", "FusedBlock"]


def test_keys_of_other_tokens_are_refused():
    visual = model(False).visual
    fused.fuse(visual)
    tokens = torch.rand(1, 3, 32)
    with pytest.raises(ValueError, match="own tokens only"):
        visual.transformer.resblocks[0].attention(tokens, k_x=tokens)


def test_every_pixel_value_is_the_nearest_float32_of_its_share():
    values = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    shares = clip.to_float_pixels(values, torch.device("cpu")).flatten().numpy()
    assert np.array_equal(shares, (np.arange(256) / 255).astype(np.float32))
