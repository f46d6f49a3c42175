"""The training attack: its start, its norm, and training without one."""

import torch

from pipeline.training.batches import make_batch, read_pixels
from pipeline.training.published import TrainingAttack
from pipeline.training.training_attack import perturb_batch, start_seed
from pipeline.zeroshot import pgd_step
from tests.support.training_runs import CPU, Run, recipe


def test_without_an_attack_the_clean_images_are_trained_on(clip_folder):
    seen = []
    for chosen in (recipe(attack=None), recipe()):
        run = Run(clip_folder, chosen)
        losses = run.objective.losses

        def spy(encoder, images, batch, losses=losses):
            seen.append(torch.equal(images, batch.images))
            return losses(encoder, images, batch)

        run.objective.losses = spy
        run.go()
    assert seen == [True] * 9 + [False] * 9


def test_the_start_of_the_attack_is_random_only_if_asked(clip_folder):
    first_images = {}
    for random_start in (True, False):
        chosen = recipe(attack=TrainingAttack("linf", 4, 2, 1, 0.0, random_start))
        run = Run(clip_folder, chosen)
        ascended = run.objective.attack_loss

        def spy(encoder, images, batch, ascended=ascended, key=random_start):
            first_images.setdefault(key, (images - batch.images).detach().abs().max())
            return ascended(encoder, images, batch)

        run.objective.attack_loss = spy
        run.go()
    assert first_images[False] == 0
    assert first_images[True] > 0


def test_random_starts_follow_the_seed_even_where_torch_drops_high_bits():
    def start(seed: int, step: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(start_seed(seed, step))
        return pgd_step.uniform_start(torch.full((1, 3, 4, 4), 0.5), 4 / 255, generator)

    assert torch.equal(start(0, 4), start(0, 4))
    assert not torch.equal(start(0, 4), start(1, 4))
    assert not torch.equal(start(0, 4), start(0, 5))


def test_the_attack_keeps_to_its_norm_and_momentum(clip_folder):
    run = Run(clip_folder)
    batch = make_batch(*read_pixels(run.inputs.pixels, 0, run.recipe), run.inputs.labels, CPU)
    perturbations = []
    for momentum in (0.0, 0.9):
        chosen = recipe(attack=TrainingAttack("l2", 128, 64, 3, momentum, random_start=True))
        perturbations.append(perturb_batch(run.encoder, run.objective, batch, 0, chosen))
    for perturbation in perturbations:
        lengths = perturbation.flatten(1).norm(dim=1)
        assert (lengths <= 128 / 255 + 1e-6).all()
        assert (lengths > 0.5 * 128 / 255).all()
    assert not torch.allclose(*perturbations, atol=1e-4)
