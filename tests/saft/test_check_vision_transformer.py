"""The formulas of `saft check` against what torch really does, on small models."""

from dataclasses import replace

import pytest
import torch
from open_clip.model import CLIP

from benchmarks.flop import counter
from pipeline.clip.model import ImageEncoder
from pipeline.clip.precision import frozen_copy, set_precision
from pipeline.common import registry
from pipeline.common.params import read_params
from pipeline.cost import vision_transformer as vit
from pipeline.training.blocks import block_range, train_blocks
from pipeline.training.published import TrainingAttack
from pipeline.zeroshot.pgd_step import perturb
from saft.check import memory, probe
from saft.check.disk import checkpoint_bytes
from saft.check.part import duration, size
from saft.check.probe import EncoderPasses, measure_passes
from tests.support.project import DEMO
from tests.support.training_runs import recipe, validation
from tests.support.vision_transformers import config, encoder

BATCH = 3


def measured_flop(run) -> float:
    with counter() as flop_counter:
        run()
    return flop_counter.get_total_flops() / BATCH


@pytest.mark.parametrize("blocks", [None, "last 1", "first 1", "2-2"])
def test_flop_are_those_that_torch_counts(blocks):
    sizes, model = vit.read(config()), encoder(config())
    train_blocks(model, blocks)
    images = torch.rand(BATCH, 3, 64, 64)

    def ascend() -> None:
        perturb(lambda x: model(x).embedding.sum(), images, torch.zeros_like(images),
                epsilon=0.1, step_size=0.1, steps=1)  # fmt: skip

    with torch.no_grad():
        forward = measured_flop(lambda: model(images))
    assert vit.forward_flop(sizes) == pytest.approx(forward, rel=0.02)
    assert vit.ascend_flop(sizes) == pytest.approx(measured_flop(ascend), rel=0.02)
    descent = measured_flop(lambda: model(images).embedding.sum().backward())
    # the deepest trained block hands no gradient down
    assert vit.descend_flop(sizes, block_range(blocks, sizes.layers)) == pytest.approx(
        descent, rel=0.05
    )


def test_flop_of_a_text():
    torch.manual_seed(0)
    model = CLIP(**config()).eval()
    tokens = torch.ones(BATCH, 16, dtype=torch.long)
    with torch.no_grad():
        measured = measured_flop(lambda: model.encode_text(tokens))
    assert vit.text_flop(config()) == pytest.approx(measured, rel=0.03)


def test_weights_are_counted_exactly():
    torch.manual_seed(0)
    model = CLIP(**config())
    sizes = vit.read(config())
    image_weights = sum(p.numel() for p in model.visual.parameters())
    assert vit.weights(sizes) == image_weights
    assert vit.text_weights(config()) == sum(p.numel() for p in model.parameters()) - image_weights
    image = ImageEncoder(model.visual, (0.5,) * 3, (0.5,) * 3)
    for blocks in (None, "last 2", "first 1", "2-2", "1-2"):
        train_blocks(image, blocks)
        trained = sum(p.numel() for p in image.parameters() if p.requires_grad)
        assert vit.trained_weights(sizes, block_range(blocks, sizes.layers)) == trained


def kept_bytes(model: ImageEncoder, images: torch.Tensor) -> float:
    """Bytes per image of all that autograd keeps of a forward, weights left out, each once."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(value: torch.Tensor) -> torch.Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage  # held, so that no address comes twice
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        model(images).embedding.sum()
    return sum(storage.nbytes() for storage in kept.values()) / len(images)


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("blocks", [None, "last 2", "last 1", "first 1", "2-2"])
@pytest.mark.parametrize("attack", [False, True])
def test_memory_is_what_autograd_keeps(quick, blocks, attack):
    """In the descent the graph begins at the first trained block, in the attack at the pixels."""
    model_cfg = config(quick_gelu=quick)
    model, sizes = encoder(model_cfg), vit.read(model_cfg)
    train_blocks(model, blocks)
    trained = block_range(blocks, sizes.layers)
    images = torch.rand(BATCH, 3, 64, 64, requires_grad=attack)
    estimate = vit.saved_bytes(sizes, trained, attack)
    assert estimate == pytest.approx(kept_bytes(model, images), rel=0.02)


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("blocks", [None, "last 2", "last 1", "first 1", "2-2"])
def test_memory_in_bf16_is_what_autograd_keeps(quick, blocks):
    """With the matrices that autocast rounds, which it does once per batch."""
    model_cfg = config(quick_gelu=quick)
    model, sizes = encoder(model_cfg), vit.read(model_cfg)
    set_precision(model.visual, "bf16")
    train_blocks(model, blocks)
    trained = block_range(blocks, sizes.layers)
    estimate = vit.saved_bytes(sizes, trained, False, "bf16")
    estimate += 2 * vit.matrix_weights(sizes, sizes.layers - trained.start) / BATCH
    kept = kept_bytes(model, torch.rand(BATCH, 3, 64, 64))
    assert estimate == pytest.approx(kept, rel=0.02)
    frozen, images = frozen_copy(model, "bf16", False), torch.rand(BATCH, 3, 64, 64)
    estimate = vit.saved_bytes(sizes, range(0), True, "bf16")
    assert estimate == pytest.approx(kept_bytes(frozen, images.requires_grad_()), rel=0.02)


def test_the_copy_that_is_attacked_in_bf16_is_counted():
    frozen = frozen_copy(encoder(config()), "bf16", False)
    there = sum(p.numel() * p.element_size() for p in frozen.parameters())
    sizes, bf16_recipe = vit.read(config()), recipe(attack=TrainingAttack("linf", 1, 1, 2, 0, True))
    passes = EncoderPasses(graph=1.0, plain=0.0, setup=0.0, copies=0, kept_per_image=())
    low, full = (
        memory.training_need(sizes, replace(bf16_recipe, precision=p), passes)
        for p in ("bf16", "float32")
    )
    rounded = 2 * vit.matrix_weights(sizes, sizes.layers)
    # the biases of the products are bf16 too, which the estimate leaves out
    assert low.fixed - full.fixed == pytest.approx(there + rounded, rel=0.01)
    assert 0.5 < low.per_image / full.per_image < 0.7


def test_a_cuda_graph_keeps_the_memory_of_the_attack_during_the_descent():
    sizes, attacked = vit.read(config()), TrainingAttack("linf", 1, 1, 2, 0, True)
    passes = EncoderPasses(graph=2.0, plain=0.0, setup=0.0, copies=0, kept_per_image=())
    alone, plain, graph = (
        memory.training_need(sizes, recipe(attack=attack), passes, graphs=graphs)
        for attack, graphs in ((None, True), (attacked, False), (attacked, True))
    )
    ascents = memory.training_need(sizes, recipe(attack=attacked), passes._replace(graph=0.0))
    assert plain.per_image == alone.per_image > ascents.per_image > 0
    assert graph.per_image == alone.per_image + ascents.per_image
    assert graph.fixed == plain.fixed


@pytest.mark.parametrize(
    ("changes", "copies"),
    [
        ({}, 0),
        ({"averaging": 0.9}, 1),
        ({"mix_alpha": 0.5}, 1),
        ({"averaging": 0.9, "mix_alpha": 0.5}, 1),
    ],
)
@pytest.mark.parametrize("keep_best", [False, True])
def test_what_a_validation_keeps_is_counted(changes, copies, keep_best):
    sizes = vit.read(config())
    passes = EncoderPasses(graph=0.0, plain=0.0, setup=0.0, copies=0, kept_per_image=())
    without, validated = (
        memory.training_need(sizes, recipe(attack=None, validation=chosen, **changes), passes)
        for chosen in (None, validation(keep_best=keep_best))
    )
    size = 4 * vit.trained_weights(sizes, range(sizes.layers))
    assert validated.fixed - without.fixed == size * (copies + keep_best)
    attack = vit.saved_bytes(sizes, range(0), True) + vit.transient_bytes(sizes)
    assert validated.per_image - without.per_image == attack
    points = [
        checkpoint_bytes(recipe(validation=chosen), sizes)
        for chosen in (validation(keep_best=keep_best), None)
    ]
    assert points[0] - points[1] == 2 * size * keep_best


def test_memory_of_a_frozen_encoder_under_attack():
    model, sizes = encoder(config()), vit.read(config())
    model.requires_grad_(False)
    images = torch.rand(BATCH, 3, 64, 64, requires_grad=True)
    estimate = vit.saved_bytes(sizes, range(0), True)
    assert estimate == pytest.approx(kept_bytes(model, images), rel=0.05)
    need = memory.attack_need(sizes, batch=10)
    assert need.total == need.fixed + 10 * (estimate + vit.transient_bytes(sizes))


# images with a graph, without, passes before the first step, copies, kept per image: from the
# formulas in the methods' own docstrings
EXPECTED = {
    "saft": (2, 0, 1, 0, ("patches",)),
    "tga_zsr": (2, 0, 1, 0, ("patches",)),
    "comp_tga": (2, 0, 1, 0, ("patches", "patches")),
    "tecoa": (1, 0, 0, 0, ()),
    "ucat": (1, 0, 1, 0, ("classes",)),
    "simclip": (2, 0, 1, 0, ("width",)),
    "lore": (2, 0, 1, 0, ("width",)),
    "qt_aft": (1, 0, 1, 0, ("width", "width")),
    "pmg_aft": (2, 1, 0, 1, ()),
    "fare": (1, 0, 1, 0, ("width",)),
    "agft": (1, 0, 1, 0, ("classes",)),
    "ft_adv": (1, 0, 0, 0, ()),
    "ft_clean": (1, 0, 0, 0, ()),
}


@pytest.mark.parametrize("name", registry.names("pipeline.methods"))
def test_passes_of_every_method(name):
    method = registry.load("pipeline.methods", name, "test")
    values = read_params(DEMO)["finetune"]["options"][name]
    state = torch.random.get_rng_state()
    assert measure_passes(method, method.Params.model_validate(values)) == EXPECTED[name]
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("name", registry.names("pipeline.methods"))
def test_passes_of_every_method_with_augmentation(name):
    """A copy of the encoder and a pass per step in place of what the base model was asked before
    training; captions stay."""
    method = registry.load("pipeline.methods", name, "test")
    values = read_params(DEMO)["finetune"]["options"][name]
    graph, plain, setup, copies, kept = EXPECTED[name]
    captions = ("width",) if name == "qt_aft" else ()
    expected = (graph, plain + setup, 0, copies + setup, captions)
    assert bool(setup) == bool(kept)
    assert measure_passes(method, method.Params.model_validate(values), "flip") == expected


@pytest.mark.parametrize("name", registry.names("pipeline.methods"))
def test_a_method_declares_what_it_really_stores_of_every_image(name):
    method = registry.load("pipeline.methods", name, "test")
    values = read_params(DEMO)["finetune"]["options"][name]
    encoder, _ = probe.counting_encoder()
    options = method.Params.model_validate(values)
    objective = method.build(options, probe.tiny_inputs(encoder, options))
    lengths = {"patches": (probe.SIDE // probe.PATCH) ** 2, "classes": probe.CLASSES,
               "width": probe.WIDTH}  # fmt: skip
    assert len({*lengths.values(), probe.IMAGES}) == 4, "no two are taken for each other"
    values = probe._kept(objective)
    per_image = [v for v in values if isinstance(v, torch.Tensor) and len(v) == probe.IMAGES]
    stored = sum(value[0].numel() for value in per_image)
    assert stored == sum(lengths[row] for row in objective.kept_per_image)
    assert all(value.dtype == torch.float32 for value in per_image)


def test_a_resnet_is_refused_in_one_line():
    from pipeline.common.errors import UserError

    with pytest.raises(UserError, match="no open_clip ViT"):
        vit.read({"embed_dim": 4, "vision_cfg": {"layers": [3, 4, 6, 3]}})


def test_a_published_model_has_its_published_size():
    import open_clip

    model_cfg = open_clip.get_model_config("ViT-B-32")
    sizes = vit.read(model_cfg)
    assert vit.weights(sizes) == 87_849_216
    assert vit.weights(sizes) + vit.text_weights(model_cfg) == 151_277_313
    assert sizes.tokens == 50
    assert vit.forward_flop(sizes) == pytest.approx(8.8e9, rel=0.02)  # 4.4 G multiply-adds


def test_units_for_people():
    assert [size(n) for n in (0, 999, 1000, 12.3e6, 2.5e12)] == [
        "0 B", "999 B", "1 kB", "12.3 MB", "2.5 TB",
    ]  # fmt: skip
    assert [duration(s) for s in (0.1, 40, 700, 12600, 8.64e5)] == [
        "1 s", "40 s", "12 min", "3.5 h", "10.0 days",
    ]  # fmt: skip
