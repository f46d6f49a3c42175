"""Trainings on augmented images: what is trained on, resuming, and the base model's part."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.clip import model as clip
from pipeline.clip.precision import set_precision
from pipeline.common import registry
from pipeline.distributed.ranks import SINGLE, Ranks, rows_to_compute
from pipeline.training import checkpoint
from pipeline.training.augmentation import augmented, draw
from pipeline.training.batches import batch_indices, make_batch, read_batches, read_pixels
from pipeline.training.lora import Lora
from pipeline.training.objective import Batch
from tests.support.training_runs import CPU, SIZE, N, Run, changed, kill, recipe

METHODS = registry.names("pipeline.methods")
KINDS = ["none", "flip", "crop"]


def batches(run: Run, steps: range, ranks: Ranks = SINGLE) -> list[Batch]:
    pixels, labels = run.inputs.pixels, run.inputs.labels
    return list(read_batches(pixels, labels, run.recipe, CPU, steps, ranks))


@pytest.mark.parametrize("kind", KINDS)
def test_every_epoch_shows_every_image_once_anew_under_its_own_label(clip_folder, kind):
    run = Run(clip_folder, recipe(augmentation=kind))
    seen: dict[int, list[torch.Tensor]] = {n: [] for n in range(N)}
    for step, batch in enumerate(batches(run, range(9))):
        assert batch.numbers.tolist() == batch_indices(step, N, 4, 0).tolist()
        assert batch.labels.tolist() == run.inputs.labels[batch.numbers.numpy()].tolist()
        plain = make_batch(
            *read_pixels(run.inputs.pixels, step, run.recipe), run.inputs.labels, CPU
        )
        drawn = draw(kind, len(batch.labels), slice(None), SIZE, run.recipe.seed, step)
        tensors = [torch.from_numpy(array) for array in drawn]
        assert torch.equal(batch.images, augmented(plain.images, kind, tensors))
        for number, image in zip(batch.numbers.tolist(), batch.images, strict=True):
            seen[number].append(image)
    differ = [
        any(not torch.equal(images[0], other) for other in images) for images in seen.values()
    ]
    assert all(len(images) == 3 for images in seen.values())
    assert any(differ) == (kind != "none")


@pytest.mark.parametrize("kind", ["flip", "crop"])
@pytest.mark.parametrize("size", [2, 3])
def test_processes_see_their_rows_of_what_one_process_sees(clip_folder, kind, size):
    run = Run(clip_folder, recipe(augmentation=kind))
    whole = batches(run, range(6))
    for rank in range(size):
        ranks = Ranks(rank, size)
        for one, part in zip(whole, batches(run, range(6), ranks), strict=True):
            rows = rows_to_compute(len(one.labels), ranks)
            assert torch.equal(part.images, one.images[rows])
            assert torch.equal(part.numbers, one.numbers)


@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_run_ends_with_the_same_bits(clip_folder, tmp_path, method):
    """Killed within the second epoch."""
    changes = {"attack": None} if method == "ft_clean" else {}
    published = registry.load("pipeline.methods", method, "test").PUBLISHED
    rate = 1e-3 if published.optimiser == "adamw" else 0.05
    chosen = recipe(method=method, augmentation="crop", learning_rate=rate, **changes)
    whole, first, second = (Run(clip_folder, chosen) for _ in range(3))
    plain = Run(clip_folder, replace(chosen, augmentation="none"))
    expected = whole.go()
    kill(lambda save: first.go(save=save), tmp_path, 4)
    assert second.go(checkpoint.load_state(tmp_path)) == expected[4:]
    assert not changed(second.weights(), whole.weights())
    plain.go()
    assert changed(plain.weights(), whole.weights()), "the augmentation has an effect"


@pytest.mark.parametrize(
    "changes",
    [{}, {"lora": Lora(rank=2, alpha=4.0)}, {"blocks": "last 1"}, {"precision": "bf16"}],
    ids=["all", "lora", "blocks", "bf16"],
)
def test_the_base_model_stays_what_it_was(clip_folder, changes):
    chosen = recipe(method="fare", augmentation="flip", learning_rate=1e-3, **changes)
    run, base = Run(clip_folder, chosen), clip.image_encoder(clip.load(clip_folder)).eval()
    set_precision(base.visual, chosen.precision)
    images = torch.rand(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    frozen, late = run.objective.base.frozen, []

    @torch.no_grad()
    def look(state):
        late.append((frozen(images).embedding, run.encoder(images).embedding))

    run.go(save=look, every=8)
    with torch.no_grad():
        expected = base(images).embedding
    assert torch.equal(late[0][0], expected)
    assert not torch.equal(late[0][1], expected)
    assert not any(weight.requires_grad for weight in frozen.parameters())


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("method", ["saft", "comp_tga", "ucat", "simclip", "agft"])
def test_on_the_clean_images_it_gives_what_is_computed_beforehand(clip_folder, method, precision):
    before, after = (
        Run(clip_folder, recipe(method=method, augmentation=kind, precision=precision))
        for kind in ("none", "flip")
    )
    numbers = np.array([1, 4, 7, 8])
    batch = make_batch(numbers, before.inputs.pixels[numbers], before.inputs.labels, CPU)
    assert before.objective.base.fill(batch) is batch
    expected = before.objective.base.of(batch)
    filled = after.objective.base.fill(batch)
    torch.testing.assert_close(after.objective.base.of(filled), expected, rtol=1e-4, atol=1e-5)
    mirrored = after.objective.base.fill(batch._replace(images=batch.images.flip(3)))
    assert (after.objective.base.of(mirrored) - expected).abs().max() > 1e-3 * expected.abs().max()
    with pytest.raises(ValueError, match="goes through `fill` first"):
        after.objective.base.of(batch)


def test_the_base_model_encodes_a_batch_once_per_step(clip_folder):
    run, counted = Run(clip_folder, recipe(method="agft", augmentation="flip")), []
    frozen = run.objective.base.frozen
    frozen.register_forward_hook(lambda _, images, __: counted.append(len(images[0])))
    run.go()
    assert counted == [4, 4, 2] * 3
