"""What every method computes, written out in float64 from its formula: nothing here uses the
methods' own mathematics."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.clip import model as clip
from pipeline.common import registry
from pipeline.methods.lore import multiplier_network
from tests.support.training_runs import SCALE, SIZE

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
    weight = o["calibration"] / (1 + math.exp(2 / o["temperature"]))  # exp of the softplus
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
