"""What every method has in common: what it encodes, reads and trains."""

import numpy as np
import pytest
import torch

from pipeline.common import registry
from pipeline.common.errors import UserError
from pipeline.common.options import load_plugin
from pipeline.training.published import Published
from tests.methods.scene import other_images, shifted
from tests.methods.twins import NAMES, TWINS, B
from tests.support.training_runs import OPTIONS, C, K, Run, changed, objective_of, recipe


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
