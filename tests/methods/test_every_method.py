"""Every method against a twin: the same loss and attack in float64, written out from the
formula. Nothing here uses the methods' own mathematics."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.clip import model as clip
from pipeline.common import registry
from pipeline.common.errors import UserError
from pipeline.common.options import load_plugin
from pipeline.methods.lore import multiplier_network
from pipeline.training.objective import Batch, MethodInputs
from pipeline.training.published import Published, TrainingAttack
from pipeline.zeroshot import pgd_step
from tests.support.training_runs import (
    CPU,
    OPTIONS,
    SCALE,
    SIZE,
    C,
    K,
    Run,
    changed,
    inputs_of,
    objective_of,
    recipe,
)

B, GRID = 6, 4
NAMES = registry.names("pipeline.methods")
CASES = [
    ("saft", {"attention_norm": "token"}),
    ("saft", {"attention_norm": "channel"}),
    ("tga_zsr", {"attention_norm": "token"}),
    ("tga_zsr", {"attention_norm": "channel"}),
    ("comp_tga", {"attention_norm": "token"}),
    ("comp_tga", {"attention_norm": "channel"}),
    ("tecoa", {}),
    ("ucat", {"clean_model": "base"}),
    ("ucat", {"clean_model": "tuned", "calibration": 3e4}),
    ("pmg_aft", {"variant": "paper"}),
    ("pmg_aft", {"variant": "release"}),
    ("pmg_aft", {"variant": "paper", "general": 0.5, "clean": 0.25}),
    ("fare", {"distance": "l2"}),
    ("fare", {"distance": "cosine"}),
    ("simclip", {}),
    ("lore", {"rho": 0.1}),
    ("lore", {"rho": 0.0}),
    ("qt_aft", {"caption": 10.0}),
    ("qt_aft", {"caption": 0.5, "temperature": 0.2}),
    ("agft", {}),
    ("ft_adv", {}),
    ("ft_clean", {}),
]
IDS = [f"{method}-{'-'.join(map(str, options.values()))}" for method, options in CASES]


class World(NamedTuple):
    """What a twin may see, float64; `tuned` is no longer at the weights of `base`."""

    tuned: clip.ImageEncoder
    base: clip.ImageEncoder
    texts: Tensor
    template: Tensor
    negated: Tensor
    captions: Tensor
    images: Tensor
    labels: Tensor


def embedding(encoder: clip.ImageEncoder, images: Tensor) -> Tensor:
    return encoder.visual((images - encoder.mean) / encoder.std)[0]


def feature(encoder: clip.ImageEncoder, images: Tensor) -> Tensor:
    raw = embedding(encoder, images)
    return raw / raw.pow(2).sum(1, keepdim=True).sqrt()


def log_softmax(logits: Tensor) -> Tensor:
    return logits - logits.exp().sum(1, keepdim=True).log()


def cross_entropies(logits: Tensor, labels: Tensor) -> Tensor:
    return torch.stack([-log_softmax(logits)[i, y] for i, y in enumerate(labels)])


def kl(p: Tensor, q: Tensor) -> Tensor:
    """(B,) KL(p || q) of log probabilities."""
    return (p.exp() * (p - q)).sum(1)


def attention(encoder: clip.ImageEncoder, image: Tensor, captions: Tensor, norm: str) -> Tensor:
    """Attention map of one image (1, 3, S, S) for (K, D) captions, upsampled and flattened."""
    pooled, tokens = encoder.visual((image - encoder.mean) / encoder.std)
    patches = torch.cat([pooled, tokens[0] @ encoder.visual.proj])
    if norm == "token":
        patches = patches / patches.pow(2).sum(0).sqrt()
    else:
        patches = patches / patches.pow(2).sum(1, keepdim=True).sqrt()
    mean = torch.stack([patches[1:] @ text for text in captions]).mean(0)
    square = ((mean - mean.min()) / (mean.max() - mean.min())).view(1, 1, GRID, GRID)
    return F.interpolate(square, size=(SIZE, SIZE), mode="bilinear", align_corners=False).flatten()


def ensemble(w: World, x: Tensor, texts: Tensor) -> Tensor:
    """(B,) cross-entropy averaged over K separate classifiers."""
    slots = range(texts.shape[1])
    logits = [SCALE * feature(w.tuned, x) @ texts[:, k].T for k in slots]
    return torch.stack([cross_entropies(one, w.labels) for one in logits]).mean(0)


def guided(w: World, x: Tensor, texts: Tensor, o: dict[str, Any]) -> Tensor:
    def distance(images: Tensor) -> Tensor:
        norms = []
        for i, y in enumerate(w.labels):
            tuned = attention(w.tuned, images[i : i + 1], texts[y], o["attention_norm"])
            base = attention(w.base, w.images[i : i + 1], texts[y], o["attention_norm"])
            norms.append((tuned - base).pow(2).sum().sqrt())
        return sum(norms) / B

    return ensemble(w, x, texts).mean() + 0.08 * distance(x) + 0.05 * distance(w.images)


def complementary(w: World, x: Tensor, o: dict[str, Any]) -> Tensor:
    def product(encoder: clip.ImageEncoder, image: Tensor, y: int) -> Tensor:
        shown, not_shown = (
            attention(encoder, image, texts[y][None], o["attention_norm"])
            for texts in (w.template, w.negated)
        )
        return shown * (1 - not_shown)

    def distance(images: Tensor) -> Tensor:
        norms = []
        for i, y in enumerate(w.labels):
            moved = product(w.tuned, images[i : i + 1], y) - product(w.base, w.images[i : i + 1], y)
            norms.append(moved.pow(2).sum().sqrt())
        return sum(norms) / B

    return template_ce(w, x).mean() + 0.10 * distance(x) + 0.07 * distance(w.images)


def template_ce(w: World, x: Tensor, scale: float = SCALE) -> Tensor:
    return cross_entropies(scale * feature(w.tuned, x) @ w.template.T, w.labels)


def pmg_scale(o: dict[str, Any]) -> float:
    return 1.0 if o["variant"] == "release" else SCALE


def pmg(w: World, x: Tensor, o: dict[str, Any]) -> Tensor:
    def log_p(encoder: clip.ImageEncoder, images: Tensor) -> Tensor:
        return log_softmax(pmg_scale(o) * feature(encoder, images) @ w.template.T)

    share = 1 if o["variant"] == "release" else B
    general = kl(log_p(w.base, x), log_p(w.tuned, x)).sum() / share
    clean = kl(log_p(w.tuned, w.images), log_p(w.tuned, x)).sum() / share
    return template_ce(w, x, pmg_scale(o)).mean() + o["general"] * general + o["clean"] * clean


def fare(w: World, x: Tensor) -> Tensor:
    return (embedding(w.tuned, x) - embedding(w.base, w.images)).pow(2).sum(1)


def cosines_of(first: Tensor, second: Tensor) -> Tensor:
    return (first * second).sum(1) / (first.pow(2).sum(1) * second.pow(2).sum(1)).sqrt()


def fare_loss(w: World, x: Tensor, o: dict[str, Any]) -> Tensor:
    if o["distance"] == "l2":
        return fare(w, x).mean()
    return (1 - cosines_of(embedding(w.tuned, x), embedding(w.base, w.images))).mean()


def simclip(w: World, x: Tensor) -> Tensor:
    """The value of both terms is the same: they differ in what has a gradient."""
    return -cosines_of(embedding(w.tuned, x), embedding(w.tuned, w.images)).mean()


def lore(w: World, x: Tensor, o: dict[str, Any]) -> Tensor:
    """With the multiplier's network at its initial weights, for seed 0."""
    first, _, second = multiplier_network(16, seed=0).double()
    base = embedding(w.base, w.images)
    hidden = (base @ first.weight.T + first.bias).clamp_min(0)
    multiplier = (1 + (hidden @ second.weight[0] + second.bias).exp()).log()
    drift = (embedding(w.tuned, w.images) - base).pow(2).sum(1)
    return (fare(w, x) + multiplier * (drift - o["rho"] * base.pow(2).sum(1))).mean()


def qt_aft(w: World, x: Tensor, o: dict[str, Any]) -> Tensor:
    logits = feature(w.tuned, x) @ w.captions.T / o["temperature"]
    return fare(w, x) + o["caption"] * cross_entropies(logits, torch.arange(B))


def ucat(w: World, x: Tensor, o: dict[str, Any]) -> Tensor:
    def concentrations(encoder: clip.ImageEncoder, images: Tensor) -> Tensor:
        cosines = feature(encoder, images) @ w.template.T
        return 1e-6 + ((cosines + 1) / o["temperature"]).exp()

    a = concentrations(w.tuned, x)
    b = concentrations(w.base if o["clean_model"] == "base" else w.tuned, w.images)
    total_a, total_b = a.sum(1), b.sum(1)
    divergence = total_a.lgamma() - a.lgamma().sum(1) - total_b.lgamma() + b.lgamma().sum(1)
    divergence += ((a - b) * (a.digamma() - total_a.digamma()[:, None])).sum(1)
    weight = o["calibration"] / (1 + np.exp(2 / o["temperature"]))  # exp of the softplus
    return template_ce(w, x).mean() + weight * divergence.mean()


def agft(w: World, x: Tensor) -> Tensor:
    scale = 1.8 * SCALE
    target = log_softmax(0.4 * scale * feature(w.base, w.images) @ w.template.T).exp()
    return -(target * log_softmax(scale * feature(w.tuned, x) @ w.template.T)).sum(1)


def contrastive(w: World, x: Tensor) -> Tensor:
    logits = SCALE * feature(w.tuned, x) @ w.template[w.labels].T
    pairs = torch.arange(B)
    return (cross_entropies(logits, pairs) + cross_entropies(logits.T, pairs)).mean() / 2


class Twin(NamedTuple):
    """attack: (B,) losses to ascend; loss: a scalar; both of world, images and options.
    encoded: forwards of one training loss, in images."""

    attack: Callable[[World, Tensor, dict[str, Any]], Tensor] | None
    loss: Callable[[World, Tensor, dict[str, Any]], Tensor]
    encoded: int


TWINS = {
    "saft": Twin(
        lambda w, x, o: ensemble(w, x, w.texts), lambda w, x, o: guided(w, x, w.texts, o), 2 * B
    ),
    "tga_zsr": Twin(
        lambda w, x, o: template_ce(w, x),
        lambda w, x, o: guided(w, x, w.template[:, None], o),
        2 * B,
    ),
    "comp_tga": Twin(lambda w, x, o: template_ce(w, x), complementary, 2 * B),
    "ucat": Twin(lambda w, x, o: template_ce(w, x), ucat, B),
    "tecoa": Twin(lambda w, x, o: template_ce(w, x), lambda w, x, o: template_ce(w, x).mean(), B),
    "pmg_aft": Twin(lambda w, x, o: template_ce(w, x, pmg_scale(o)), pmg, 2 * B),
    "fare": Twin(lambda w, x, o: fare(w, x), fare_loss, B),
    "simclip": Twin(lambda w, x, o: fare(w, x), lambda w, x, o: simclip(w, x), 2 * B),
    "lore": Twin(lambda w, x, o: fare(w, x), lore, 2 * B),
    "qt_aft": Twin(qt_aft, lambda w, x, o: qt_aft(w, x, o).mean(), B),
    "agft": Twin(lambda w, x, o: agft(w, x), lambda w, x, o: agft(w, x).mean(), B),
    "ft_adv": Twin(lambda w, x, o: template_ce(w, x), lambda w, x, o: contrastive(w, x), B),
    "ft_clean": Twin(None, lambda w, x, o: contrastive(w, x), B),
}


class Scene(NamedTuple):
    inputs: MethodInputs
    batch: Batch
    world: World


def shifted(encoder: clip.ImageEncoder) -> clip.ImageEncoder:
    """A copy with every weight moved, as after some training."""
    moved, generator = copy.deepcopy(encoder), torch.Generator().manual_seed(1)
    for weight in moved.parameters():
        weight.data.mul_(1 + 0.1 * torch.randn(weight.shape, generator=generator).to(weight.device))
    return moved


def make_scene(folder: Path, device: torch.device) -> Scene:
    """MethodInputs and batch on `device`; the world of the twins always on the CPU."""
    encoder = clip.image_encoder(clip.load(folder)).eval()
    base, tuned = copy.deepcopy(encoder).double(), shifted(encoder).double()
    inputs = inputs_of(encoder, images=B, device=device)
    images, labels = torch.from_numpy(inputs.pixels).float() / 255, torch.from_numpy(inputs.labels)
    batch = Batch(*(values.to(device) for values in (images, labels, torch.arange(B))))
    texts, template = inputs.texts.cpu().double(), inputs.template.cpu().double()
    negated = inputs.others["negated"][:, 0].cpu().double()
    captions = inputs.captions.cpu().double()
    world = World(tuned, base, texts, template, negated, captions, images.double(), labels)
    return Scene(inputs, batch, world)


@pytest.fixture
def scene(clip_folder) -> Scene:
    return make_scene(clip_folder, CPU)


@pytest.fixture
def device_scene(clip_folder, device) -> Scene:
    return make_scene(clip_folder, device)


def other_images(images: Tensor, seed: int = 2) -> Tensor:
    """Images inside the ball of 4/255, fixed."""
    generator = torch.Generator().manual_seed(seed)
    noise = 4 / 255 * (2 * torch.rand(images.shape, generator=generator) - 1)
    return (images + noise.to(images.device)).clamp(0, 1)


def tolerance(scene: Scene) -> float:
    """Largest relative difference of a float32 loss from float64: on CUDA the fused attention
    sums three TF32 products for one of float32."""
    return 1e-5 if scene.batch.images.device.type == "cpu" else 1e-4


def options_of(method: str, options: dict[str, Any]) -> dict[str, Any]:
    return OPTIONS.get(method, {}) | options


def test_every_registered_method_has_a_twin_and_only_those():
    assert sorted(TWINS) == NAMES
    assert {method for method, _ in CASES} == set(NAMES)


@pytest.mark.parametrize(("method", "options"), CASES, ids=IDS)
def test_the_training_loss_equals_its_twin(device_scene, method, options):
    scene = device_scene
    objective = objective_of(method, scene.inputs, **options)
    images = other_images(scene.batch.images)
    loss = objective.losses(shifted(scene.inputs.encoder), images, scene.batch)["loss"]
    expected = TWINS[method].loss(scene.world, images.cpu().double(), options_of(method, options))
    assert loss.ndim == 0
    assert abs(loss.item() / expected.item() - 1) < tolerance(scene)


def test_simclip_moves_each_half_towards_the_other_as_if_it_were_fixed(scene):
    """The stopped gradients leave half of that of the cosine."""
    images, objective = other_images(scene.batch.images), objective_of("simclip", scene.inputs)
    encoder = shifted(scene.inputs.encoder)
    objective.losses(encoder, images, scene.batch)["loss"].backward()
    (simclip(scene.world, images.double()) / 2).backward()
    pairs = zip(encoder.parameters(), scene.world.tuned.parameters(), strict=True)
    for weight, expected in pairs:
        size = expected.grad.norm()
        assert (weight.grad.double() - expected.grad).norm() <= 1e-3 * size + 1e-12


def test_twins_tell_the_methods_apart(scene):
    """The comparison above can fail: no two losses are near each other."""
    images = other_images(scene.world.images)
    losses = sorted(
        TWINS[method].loss(scene.world, images, options_of(method, options)).item()
        for method, options in CASES
        if method != "ft_clean"
    )
    assert (np.diff(losses) / losses[1:]).min() > 1e-3
    clean = TWINS["ft_clean"].loss(scene.world, scene.world.images, {})
    assert abs(clean / TWINS["ft_adv"].loss(scene.world, images, {}) - 1) > 1e-3


def twin_attack(
    loss: Callable[[Tensor], Tensor], images: Tensor, start: Tensor, a: TrainingAttack
) -> Tensor:
    delta, velocity = start, torch.zeros_like(start)
    for _ in range(a.steps):
        delta = delta.detach().requires_grad_()
        loss(images + delta).sum().backward()
        velocity = (a.momentum * velocity + delta.grad.sign()).sign()
        delta = (delta.detach() + a.step_255 / 255 * velocity).clamp(
            -a.epsilon_255 / 255, a.epsilon_255 / 255
        )
        delta = (images + delta).clamp(0, 1) - images
    return delta


@pytest.mark.parametrize(("method", "options"), CASES, ids=IDS)
def test_the_attack_equals_its_twin(device_scene, method, options):
    scene = device_scene
    published = registry.load("pipeline.methods", method, "test").PUBLISHED
    objective = objective_of(method, scene.inputs, **options)
    twin = TWINS[method].attack
    assert (published.attack is None) == (objective.attack_loss is None) == (twin is None)
    if twin is None:
        return
    encoder, images, a = shifted(scene.inputs.encoder), scene.batch.images, published.attack
    start = (other_images(images, seed=3) - images) / 4
    perturbation = pgd_step.perturb(
        lambda x: objective.attack_loss(encoder, x, scene.batch),
        images, start, epsilon=a.epsilon_255 / 255, step_size=a.step_255 / 255,
        steps=a.steps, norm=a.norm, momentum=a.momentum,
    )  # fmt: skip
    chosen_options = options_of(method, options)
    expected = twin_attack(
        lambda x: twin(scene.world, x, chosen_options),
        images.cpu().double(),
        start.cpu().double(),
        a,
    )
    apart = (perturbation.cpu().double() - expected).abs() > 0.5 * a.step_255 / 255
    assert apart.double().mean() <= 1e-3
    value = objective.attack_loss(encoder, images, scene.batch).item()
    summed = twin(scene.world, images.cpu().double(), chosen_options).sum().item()
    assert abs(value / summed - 1) < tolerance(scene)


@pytest.mark.parametrize(("method", "options"), CASES, ids=IDS)
def test_with_augmentation_the_base_model_sees_the_augmented_images(device_scene, method, options):
    """Loss and attack of images that are not those of the training set."""
    scene, twin, told = device_scene, TWINS[method], options_of(method, options)
    objective = objective_of(method, scene.inputs._replace(augmentation="flip"), **options)
    batch = scene.batch._replace(images=scene.batch.images.flip(3))
    world = scene.world._replace(images=scene.world.images.flip(3))
    if objective.base is not None:
        batch = objective.base.fill(batch)
    encoder, images = shifted(scene.inputs.encoder), other_images(batch.images)
    loss = objective.losses(encoder, images, batch)["loss"]
    expected = twin.loss(world, images.cpu().double(), told)
    assert abs(loss.item() / expected.item() - 1) < tolerance(scene)
    if twin.attack is not None:
        value = objective.attack_loss(encoder, images, batch)
        summed = twin.attack(world, images.cpu().double(), told).sum().item()
        assert abs(value.item() / summed - 1) < tolerance(scene)
    assert objective.kept_per_image == (("width",) if method == "qt_aft" else ())  # captions
    if objective.base is not None:  # the comparison can fail
        stale = objective_of(method, scene.inputs, **options)
        values = [
            (one.losses(encoder, images, batch)["loss"], one.attack_loss(encoder, images, batch))
            for one in (objective, stale)
        ]
        apart = [abs(a.item() / b.item() - 1) for a, b in zip(*values, strict=True)]
        assert max(apart) > 100 * tolerance(scene)


def test_attacks_on_different_losses_differ(scene):
    """The comparison above can fail."""
    published = registry.load("pipeline.methods", "tecoa", "test").PUBLISHED
    start = torch.zeros_like(scene.world.images)
    perturbations = [
        twin_attack(
            lambda x, m=method: TWINS[m].attack(scene.world, x, options_of(m, {})),
            scene.world.images, start, published.attack,
        )
        for method in ("saft", "tecoa", "fare", "agft")
    ]  # fmt: skip
    for i, first in enumerate(perturbations):
        for second in perturbations[:i]:
            assert ((first - second).abs() > 0.5 / 255).double().mean() > 0.01


@pytest.mark.parametrize("method", NAMES)
def test_clean_images_are_encoded_only_where_the_loss_needs_them(scene, method):
    objective, counted = objective_of(method, scene.inputs), []
    encoder = shifted(scene.inputs.encoder)
    encoder.visual.register_forward_pre_hook(lambda _, args: counted.append(len(args[0])))
    losses = objective.losses(encoder, other_images(scene.batch.images), scene.batch)
    assert counted == [TWINS[method].encoded]
    classifies = method not in ("simclip", "lore", "qt_aft")
    expected = classifies and (counted == [2 * B] or method == "ft_clean")
    assert ("clean_accuracy" in losses) == expected
    assert all(value.ndim == 0 for value in losses.values())


@pytest.mark.parametrize("method", NAMES)
def test_a_method_looks_only_at_its_own_texts(scene, method):
    nothing = torch.full((C, K, 16), torch.nan)
    unused = {"template": nothing[:, 0]} if method == "saft" else {"texts": nothing}
    if method in ("fare", "simclip", "lore", "qt_aft"):
        unused["template"] = nothing[:, 0]
    if method != "qt_aft":
        unused["captions"] = None
    if method != "comp_tga":
        unused["others"] = {"negated": nothing[:, :1]}
    objective = objective_of(method, scene.inputs._replace(**unused))
    losses = objective.losses(scene.inputs.encoder, scene.batch.images, scene.batch)
    assert losses["loss"].isfinite()


def test_the_frozen_model_of_pmg_aft_gets_no_gradient_and_does_not_move(clip_folder):
    run = Run(clip_folder, recipe(method="pmg_aft"))
    before = {k: v.clone() for k, v in run.objective.frozen.state_dict().items()}
    run.go()
    assert not changed(before, run.objective.frozen.state_dict())
    assert changed(before, run.encoder.state_dict())
    assert all(weight.grad is None for weight in run.objective.frozen.parameters())


@pytest.mark.parametrize("method", NAMES)
def test_two_steps_of_training_change_the_image_encoder_only(clip_folder, method, device):
    module = registry.load("pipeline.methods", method, "test")
    rate = 1e-3 if module.PUBLISHED.optimiser == "adamw" else 0.01
    chosen_recipe = recipe(
        method=method, epochs=1, batch_size=5, learning_rate=rate, warmup_steps=0,
        optimiser=module.PUBLISHED.optimiser, attack=module.PUBLISHED.attack,
    )  # fmt: skip
    run = Run(clip_folder, chosen_recipe, device=device)
    before = run.weights()
    rows = run.go()
    assert len(rows) == 2
    assert all(np.isfinite(list(row.values())).all() for row in rows)
    names = changed(before, run.weights())
    assert names
    assert all(name.startswith("visual.") for name in names)


@pytest.mark.parametrize("method", NAMES)
def test_training_lowers_the_loss(clip_folder, method):
    published = registry.load("pipeline.methods", method, "test").PUBLISHED
    optimiser, rate = published.optimiser, 3e-5 if published.optimiser == "adamw" else 1e-3
    # the published rate of simclip is larger, too; random captions are far from their images
    rate *= 10 if method in ("simclip", "qt_aft") else 1
    attacked = None if published.attack is None else recipe().attack
    # one batch of all images, so that losses of two steps are comparable
    one_batch = recipe(
        method=method, epochs=12, batch_size=10, warmup_steps=0,
        optimiser=optimiser, learning_rate=rate, attack=attacked,
    )  # fmt: skip
    rows = Run(clip_folder, one_batch).go()
    # the Lagrangian is no measure of progress, as its multiplier moves; a cosine falls towards -1
    descended = "distance" if method == "lore" else "loss"
    least = -1 if method == "simclip" else 0
    assert rows[-1][descended] - least < 0.95 * (rows[0][descended] - least)


@pytest.mark.parametrize("method", NAMES)
def test_a_method_says_what_it_is_called_and_how_it_was_published(method):
    module = registry.load("pipeline.methods", method, "test")
    assert isinstance(module.TITLE, str)
    assert isinstance(module.PUBLISHED, Published)
    assert len(module.__doc__) > 200
    titles = [registry.load("pipeline.methods", name, "test").TITLE for name in NAMES]
    assert titles.count(module.TITLE) == 1


@pytest.mark.parametrize("method", NAMES)
def test_an_unknown_option_is_named_with_its_method(method):
    values = {"learning_rate": None} | OPTIONS.get(method, {})
    where = f"params.yaml: finetune.options.{method}"
    with pytest.raises(UserError, match=f"{where}: unknown key 'magic'"):
        load_plugin(
            "pipeline.methods", "finetune", "method", method, {method: values | {"magic": 1}}
        )
    bad = values | {"learning_rate": 0}
    with pytest.raises(UserError, match=f"{where}: key 'learning_rate'.*greater than 0"):
        load_plugin("pipeline.methods", "finetune", "method", method, {method: bad})
