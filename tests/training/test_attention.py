"""The attention terms against float64 references written out here, upsampling included."""

import torch
from torch.nn import functional as F

from pipeline.training.attention import attention_map, map_distance, upsampling_factor

B, GRID, D, K, SIZE = 4, 7, 12, 5, 224


def sample(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def reference_map(patches: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
    """One image: (1 + T, D) tokens, the class token first, and (K, D) captions -> the
    upsampled map, flattened, float64."""
    patches, texts = patches.double(), texts.double()
    scaled = torch.empty_like(patches)
    for channel in range(patches.shape[1]):
        column = patches[:, channel]
        scaled[:, channel] = column / column.pow(2).sum().sqrt()
    scaled = scaled[1:]  # the class token counts in the norm and is then left out
    maps = [torch.stack([(token * text).sum() for token in scaled]) for text in texts]
    mean = sum(maps) / len(maps)
    low, high = mean.min(), mean.max()
    square = ((mean - low) / (high - low)).view(1, 1, GRID, GRID)
    large = F.interpolate(square, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
    return large.flatten()


def test_distance_of_maps_equals_the_reference_at_full_size():
    first, second = sample(B, 1 + GRID**2, D, seed=1), sample(B, 1 + GRID**2, D, seed=2)
    texts = F.normalize(sample(B, K, D, seed=3), dim=-1)
    expected = sum(
        (reference_map(first[i], texts[i]) - reference_map(second[i], texts[i])).norm()
        for i in range(B)
    )
    mean_text = texts.mean(1)
    distance = map_distance(
        attention_map(first, mean_text),
        attention_map(second, mean_text),
        upsampling_factor(GRID, SIZE),
    )
    torch.testing.assert_close(distance.double(), expected / B, rtol=2e-5, atol=0)


def test_channel_norm_makes_the_map_the_cosine_of_each_patch():
    tokens, text = sample(B, 1 + GRID**2, D, seed=1), F.normalize(sample(B, D, seed=3), dim=-1)
    maps = attention_map(tokens, text, "channel")
    for i in range(B):
        cosines = torch.stack(
            [patch @ text[i].double() / patch.norm() for patch in tokens[i, 1:].double()]
        )
        expected = (cosines - cosines.min()) / (cosines.max() - cosines.min())
        torch.testing.assert_close(maps[i].double(), expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(maps, attention_map(tokens, text), atol=1e-2)
    louder = tokens.clone()
    louder[:, 0] *= 50  # the class token has no part in it
    assert torch.equal(attention_map(louder, text, "channel"), maps)


def test_maps_span_zero_to_one_and_ignore_the_text_length():
    patches, text = sample(B, 1 + GRID**2, D), sample(B, D, seed=4)
    maps = attention_map(patches, text)
    assert torch.equal(maps.amin(1), torch.zeros(B))
    torch.testing.assert_close(maps.amax(1), torch.ones(B))
    torch.testing.assert_close(attention_map(patches, 7 * text), maps, rtol=1e-4, atol=1e-5)


def test_a_constant_map_is_zero_not_nan():
    for norm in ("token", "channel"):
        maps = attention_map(torch.ones(2, 10, D), torch.ones(2, D), norm)
        assert torch.equal(maps, torch.zeros(2, 9))
        assert not attention_map(torch.zeros(2, 10, D), torch.ones(2, D), norm).isnan().any()


def test_the_gradient_is_finite_where_maps_are_equal():
    patches = sample(2, 1 + GRID**2, D).requires_grad_()
    text = sample(2, D, seed=5)
    base = attention_map(patches.detach(), text)
    map_distance(attention_map(patches, text), base, upsampling_factor(GRID, SIZE)).backward()
    assert patches.grad.isfinite().all()


def test_the_factor_reproduces_bilinear_norms_of_a_vector():
    vector = sample(GRID).double()
    large = F.interpolate(vector.view(1, 1, -1), size=SIZE, mode="linear", align_corners=False)
    factor = upsampling_factor(GRID, SIZE).double()
    torch.testing.assert_close((factor.T @ vector).norm(), large.norm(), rtol=1e-6, atol=0)


def test_the_class_token_counts_in_the_norm_only():
    tokens, text = sample(B, 1 + GRID**2, D), sample(B, D, seed=4)
    louder = tokens.clone()
    louder[:, 0] *= torch.linspace(1, 50, D)
    assert attention_map(tokens, text).shape == (B, GRID**2)
    assert not torch.allclose(attention_map(louder, text), attention_map(tokens, text), atol=1e-2)
