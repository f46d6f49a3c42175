"""bf16 in the blocks and nowhere else, frozen copies, and the switch of TF32."""

import copy

import pytest
import torch
from torch import Tensor

from pipeline.clip import model as clip
from pipeline.clip import precision
from pipeline.common.errors import UserError
from pipeline.training.batches import make_batch, read_pixels
from pipeline.training.training_attack import Ascents, attacked_copy, perturb_batch
from tests.support.training_runs import CPU, SIZE, Run, changed, recipe


def images(count: int = 4) -> Tensor:
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def encoder(clip_folder) -> clip.ImageEncoder:
    return clip.image_encoder(clip.load(clip_folder)).eval()


def seen_dtypes(encoder: clip.ImageEncoder) -> dict[str, set[torch.dtype]]:
    """Of the outputs of every kind of module in a forward."""
    dtypes: dict[str, set[torch.dtype]] = {}

    def note(module: torch.nn.Module, _: object, output: object) -> None:
        if isinstance(output, Tensor):
            dtypes.setdefault(type(module).__name__, set()).add(output.dtype)

    hooks = [module.register_forward_hook(note) for module in encoder.modules()]
    encoder(images())
    for hook in hooks:
        hook.remove()
    return dtypes


def test_bf16_is_in_the_products_of_the_blocks_and_nowhere_else(encoder):
    assert set().union(*seen_dtypes(encoder).values()) == {torch.float32}
    precision.set_precision(encoder.visual, "bf16")
    dtypes = seen_dtypes(encoder)
    assert dtypes["Linear"] == {torch.bfloat16}
    for part in ("PatchProduct", "LayerNorm", "FusedBlock", "PrecisionTransformer"):
        assert dtypes[part] == {torch.float32}, part
    assert encoder(images()).embedding.dtype == torch.float32
    assert {weight.dtype for weight in encoder.parameters()} == {torch.float32}


def test_bf16_is_near_float32_and_not_equal_to_it(encoder):
    exact = encoder(images()).pooled
    precision.set_precision(encoder.visual, "bf16")
    rounded = encoder(images()).pooled
    assert 1e-6 < (rounded - exact).abs().max() < 0.02


@pytest.mark.parametrize("chosen", ["float32", "bf16"])
def test_a_frozen_copy_computes_what_the_encoder_does(encoder, chosen):
    precision.set_precision(encoder.visual, chosen)
    frozen = precision.frozen_copy(encoder, chosen, False)
    assert not any(weight.requires_grad for weight in frozen.parameters())
    pixels = images().requires_grad_()
    for expected, computed in zip(encoder(pixels), frozen(pixels), strict=True):
        assert torch.equal(expected, computed)
    with torch.no_grad():
        for weight in encoder.parameters():
            weight.add_(torch.randn_like(weight) * 0.01)
    assert not torch.equal(encoder(pixels).pooled, frozen(pixels).pooled)
    precision.refresh(frozen, encoder)
    assert torch.equal(encoder(pixels).pooled, frozen(pixels).pooled)


def test_only_matrices_of_the_blocks_are_bf16_in_the_copy(encoder):
    frozen = precision.frozen_copy(encoder, "bf16", False)
    names = {n for n, w in frozen.named_parameters() if w.dtype == torch.bfloat16}
    parts = ("attn.in_proj", "attn.out_proj", "mlp.c_fc", "mlp.c_proj")
    inside = {n for n, _ in frozen.named_parameters() if any(part in n for part in parts)}
    assert names == inside
    assert len(names) == 16  # two blocks


def test_training_in_bf16_keeps_float32_weights_and_its_copy_up_to_date(clip_folder):
    chosen = recipe(precision="bf16", averaging=0.5)
    run = Run(clip_folder, chosen)
    before = run.weights()
    rows = run.go()
    after = run.weights()
    assert changed(before, after)
    assert {value.dtype for value in after.values()} == {before[name].dtype for name in after}
    assert Run(clip_folder, chosen).go() == rows
    exact = Run(clip_folder)
    exact_rows = exact.go()
    assert rows != exact_rows
    assert abs(rows[-1]["loss"] - exact_rows[-1]["loss"]) < 0.1 * exact_rows[-1]["loss"]


def test_a_bf16_attack_moves_nearly_the_same_pixels(clip_folder):
    run = Run(clip_folder)
    batch = make_batch(*read_pixels(run.inputs.pixels, 0, run.recipe), run.inputs.labels, CPU)
    exact = perturb_batch(run.encoder, run.objective, batch, 0, run.recipe)
    low = recipe(precision="bf16")
    copied = attacked_copy(run.encoder, low)
    rounded = perturb_batch(run.encoder, run.objective, batch, 0, low, Ascents(copied))
    assert not torch.equal(exact, rounded)
    assert ((exact - rounded).abs() > 0.5 / 255).float().mean() < 0.1
    assert all(weight.requires_grad for weight in run.encoder.visual.parameters())
    assert attacked_copy(run.encoder, recipe()) is None
    assert attacked_copy(run.encoder, recipe(precision="bf16", attack=None)) is None


def test_compiled_blocks_compute_the_same_and_repeat_themselves(encoder):
    frozen = precision.frozen_copy(encoder, "float32", True)
    outputs = []
    for one in (encoder, frozen, frozen):
        pixels = images().requires_grad_()
        pooled = one(pixels).pooled
        outputs.append((pooled, torch.autograd.grad(pooled[:, 0].sum(), pixels)[0]))
    for expected, computed, again in zip(*outputs, strict=True):
        largest = expected.abs().max().item()
        torch.testing.assert_close(computed, expected, rtol=0, atol=1e-5 * largest)
        assert torch.equal(computed, again)
    assert list(frozen.state_dict()) == list(encoder.state_dict())


def test_what_a_device_cannot_compute_in_is_refused(monkeypatch):
    with pytest.raises(UserError, match="finetune.precision: tf32 exists on CUDA devices only"):
        precision.check_precision("tf32", "finetune.precision", CPU)
    precision.check_precision("bf16", "finetune.precision", CPU)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA T4")
    for chosen in ("tf32", "bf16"):
        with pytest.raises(UserError, match=f"NVIDIA T4 has no {chosen} products; use float32"):
            precision.check_precision(chosen, "evaluate.precision", torch.device("cuda"))
    precision.check_precision("float32", "evaluate.precision", torch.device("cuda"))


def test_tf32_is_on_inside_the_blocks_only_forwards_and_backwards(encoder, monkeypatch):
    switched: list[bool] = []
    monkeypatch.setattr(precision, "allow_tf32", switched.append)
    precision.set_precision(encoder.visual, "tf32")
    order: list[str] = []
    blocks = encoder.visual.transformer.resblocks
    for name, module in (("first", blocks[0]), ("last", blocks[-1])):
        module.register_full_backward_hook(
            lambda *_, name=name: order.append(f"{name} {switched[-1]}")
        )
    embedding = encoder(images()).embedding
    assert switched == [True, False]
    embedding.sum().backward()
    assert order == ["last True", "first True"]
    assert switched == [True, False, True, False]


def test_a_copy_of_an_encoder_of_another_kind_is_refused(encoder):
    other = copy.deepcopy(encoder)
    other.visual.transformer = torch.nn.Identity()
    with pytest.raises(UserError, match="bf16 needs a plain vision transformer"):
        precision.set_precision(other.visual, "bf16")
    precision.set_precision(other.visual, "float32")
