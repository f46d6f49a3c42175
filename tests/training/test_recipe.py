"""Section finetune and a method's published values become one recipe."""

import json
from typing import Any

import pytest

from pipeline.common import registry
from pipeline.common.errors import UserError
from pipeline.common.options import load_plugin
from pipeline.common.params import read_section, validate
from pipeline.training.published import Published, TrainingAttack
from pipeline.training.recipe import FinetuneParams, Recipe, resolve
from pipeline.training.validation_params import Validation
from tests.support.project import DEMO

NAMES = registry.names("pipeline.methods")
TWO_STEP_PGD = TrainingAttack("linf", 1, 1, 2, 0, True)
SECTION: dict[str, Any] = {
    "dataset": "x",
    "texts": [],
    "captions": "captions.parquet",
    "method": "tecoa",
    "options": {},
    "optimiser": None,
    "momentum": None,
    "weight_decay": None,
    "attack": {
        "norm": "linf",
        "epsilon_255": None,
        "step_255": None,
        "steps": None,
        "momentum": None,
        "random_start": None,
        "texts": None,
    },
    "epochs": None,
    "batch_size": None,
    "warmup_steps": None,
    "validation": {
        "dataset": "none",
        "images": None,
        "every": 10,
        "steps": 5,
        "patience": None,
        "keep_best": False,
    },
    "mix_alpha": 1.0,
    "augmentation": "none",
    "blocks": None,
    "lora": None,
    "gradient_clip": None,
    "averaging": None,
    "precision": "float32",
    "compile": False,
    "checkpoint_seconds": 5,
    "seed": 3,
}


def section(**changes: Any) -> FinetuneParams:
    attack = SECTION["attack"] | changes.pop("attack", {})
    values = SECTION | changes | {"attack": attack}
    return validate(values, FinetuneParams, "params.yaml: finetune")


def resolved(method: str, rate: float | None = None, **changes: Any) -> Recipe:
    """With the options that the demo has for the method."""
    committed = read_section("finetune", FinetuneParams, DEMO).options
    options = {method: committed[method] | {"learning_rate": rate}}
    module, checked = load_plugin("pipeline.methods", "finetune", "method", method, options)
    return resolve(section(method=method, **changes), module.PUBLISHED, checked)


@pytest.mark.parametrize(
    ("method", "published"),
    [
        ("saft", Published("sgd", 1e-4, 0.9, 0.0, 10, 128, 1000, TWO_STEP_PGD)),
        ("tga_zsr", Published("sgd", 1e-4, 0.9, 0.0, 10, 128, 1000, TWO_STEP_PGD)),
        ("comp_tga", Published("sgd", 1e-4, 0.9, 0.0, 10, 128, 1000, TWO_STEP_PGD)),
        ("ucat", Published("sgd", 1e-4, 0.9, 0.0, 10, 256, 1000, TWO_STEP_PGD)),
        ("tecoa", Published("sgd", 1e-5, 0.9, 0.0, 10, 256, 1000, TWO_STEP_PGD)),
        ("pmg_aft", Published("sgd", 5e-5, 0.9, 0.0, 10, 256, 1000, TWO_STEP_PGD)),
        ("agft", Published("sgd", 4e-4, 0.9, 0.0, 10, 256, 1000, TWO_STEP_PGD)),
        ("ft_adv", Published("sgd", 1e-4, 0.9, 0.0, 10, 128, 1000, TWO_STEP_PGD)),
        ("ft_clean", Published("sgd", 1e-4, 0.9, 0.0, 10, 128, 1000, None)),
        (
            "fare",
            Published(
                "adamw", 1e-5, 0.9, 1e-4, 2, 128, 1400,
                TrainingAttack("linf", 1, 1, 10, 0.9, True),
            ),
        ),
        (
            "simclip",
            Published(
                "adamw", 1e-3, 0.9, 1e-5, 1, 64, 1400,
                TrainingAttack("linf", 1, 1, 10, 0.9, True),
            ),
        ),
        (
            "lore",
            Published(
                "adamw", 1e-5, 0.9, 1e-4, 2, 448, 1400,
                TrainingAttack("linf", 1, 0.25, 10, 0.9, True),
            ),
        ),
    ],
)  # fmt: skip
def test_null_everywhere_is_the_published_recipe(method, published):
    recipe = resolved(method)
    for key in ("optimiser", "learning_rate", "momentum", "weight_decay", "epochs", "batch_size"):
        assert getattr(recipe, key) == getattr(published, key), key
    assert recipe.warmup_steps == published.warmup_steps
    assert recipe.attack == published.attack
    assert (recipe.method, recipe.seed, recipe.mix_alpha) == (method, 3, 1.0)
    assert "learning_rate" not in recipe.options


@pytest.mark.parametrize("method", NAMES)
def test_what_is_given_goes_before_what_was_published(method):
    attack = {"epsilon_255": 2.5, "step_255": 0.5, "steps": 7, "momentum": 0.1}
    attack |= {"random_start": False}
    overrides = {"momentum": 0.0, "weight_decay": 0.25, "epochs": 3, "batch_size": 7}
    overrides |= {"warmup_steps": 0, "optimiser": "adamw"}
    recipe = resolved(method, rate=0.5, attack=attack, **overrides)
    assert {key: getattr(recipe, key) for key in overrides} == overrides
    assert recipe.learning_rate == 0.5
    expected = TrainingAttack("linf", 2.5, 0.5, 7, 0.1, False)
    assert recipe.attack == (None if method == "ft_clean" else expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attack": {"epsilon_255": 0}}, r"finetune: key 'attack\.epsilon_255'.*greater than 0"),
        ({"attack": {"step_255": 0.0}}, r"finetune: key 'attack\.step_255'.*greater than 0"),
        ({"attack": {"steps": 0}}, r"finetune: key 'attack\.steps'.*greater than or equal to 1"),
        ({"attack": {"steps": 1.5}}, r"finetune: key 'attack\.steps'.*integer"),
        ({"attack": {"momentum": 1.0}}, r"finetune: key 'attack\.momentum'.*less than 1"),
        ({"attack": {"norm": "l1"}}, r"finetune: key 'attack\.norm'"),
        ({"attack": {"magic": 1}}, r"finetune: unknown key 'attack\.magic'"),
        ({"optimiser": "adam"}, "key 'optimiser'.*'sgd' or 'adamw'"),
        ({"momentum": 1.0}, "key 'momentum'.*less than 1"),
        ({"weight_decay": -0.1}, "key 'weight_decay'"),
        ({"epochs": 0}, "key 'epochs'"),
        ({"batch_size": 0}, "key 'batch_size'"),
        ({"warmup_steps": -1}, "key 'warmup_steps'"),
        ({"mix_alpha": 1.1}, "key 'mix_alpha'"),
        ({"mix_alpha": None}, "key 'mix_alpha'"),
        ({"augmentation": "rotate"}, "key 'augmentation'.*'none', 'flip' or 'crop'"),
        ({"augmentation": None}, "key 'augmentation'"),
        ({"blocks": "last 0"}, "key 'blocks'.*'first N', 'last N' or 'A-B'"),
        ({"blocks": "3-2"}, "key 'blocks'.*ends before it begins"),
        ({"blocks": 2}, "key 'blocks'.*write it in quotes"),
        ({"blocks": "2"}, "key 'blocks'.*'first N'"),
        ({"gradient_clip": 0.0}, "key 'gradient_clip'"),
        ({"averaging": 1.0}, "key 'averaging'"),
        ({"averaging": 0.0}, "key 'averaging'"),
        ({"learning_rate": 0.1}, "unknown key 'learning_rate'"),
    ],
)
def test_bad_values_are_one_line_with_their_key(changes, message):
    with pytest.raises(UserError, match=message) as caught:
        section(**changes)
    assert "\n" not in str(caught.value)


def test_a_published_rate_is_not_taken_for_another_optimiser():
    with pytest.raises(UserError, match=r"finetune\.options\.tecoa\.learning_rate.*sgd.*adamw"):
        resolved("tecoa", optimiser="adamw")
    with pytest.raises(UserError, match=r"finetune\.options\.fare\.learning_rate.*adamw.*sgd"):
        resolved("fare", optimiser="sgd")
    assert resolved("tecoa", optimiser="sgd").learning_rate == 1e-5
    with pytest.raises(UserError, match=r"finetune\.weight_decay is null.*sgd.*adamw"):
        resolved("tecoa", rate=0.1, optimiser="adamw")
    recipe = resolved("tecoa", rate=0.1, optimiser="adamw", weight_decay=0.0)
    assert recipe.learning_rate == 0.1


def test_a_published_radius_is_not_taken_for_another_norm():
    with pytest.raises(UserError, match=r"finetune\.attack\.epsilon_255.*linf.*l2"):
        resolved("tecoa", attack={"norm": "l2"})
    with pytest.raises(UserError, match=r"finetune\.attack\.step_255.*linf.*l2"):
        resolved("tecoa", attack={"norm": "l2", "epsilon_255": 128})
    recipe = resolved("tecoa", attack={"norm": "l2", "epsilon_255": 128, "step_255": 64})
    assert recipe.attack == TrainingAttack("l2", 128, 64, 2, 0, True)


def test_the_validation_is_under_the_norm_and_radius_of_the_training_attack():
    held = SECTION["validation"] | {"dataset": "held"}
    assert resolved("saft").validation is None
    recipe = resolved("saft", validation=held, attack={"epsilon_255": 3})
    assert recipe.validation == Validation("held", None, 10, 5, None, False, "linf", 3, 1)
    assert recipe.validation.attack == TrainingAttack("linf", 3, 1, 5, 0, True)
    clean = resolved("ft_clean", validation=held)
    assert clean.attack is None
    assert clean.validation == Validation("held", None, 10, 5, None, False, "linf", 1, 1)
    message = (
        r"finetune\.attack\.epsilon_255 is null, but TeCoA's value, which finetune\.validation "
        "then takes, belongs to norm linf, not to l2; set it"
    )
    with pytest.raises(UserError, match=message):
        resolved("ft_clean", validation=held, attack={"norm": "l2"})
    assert resolved("ft_clean", attack={"norm": "l2"}).validation is None


def test_a_recipe_is_plain_values():
    recipe = resolved("saft")
    again = json.loads(json.dumps(recipe.as_dict()))
    assert again == recipe.as_dict()
    assert again["attack"]["steps"] == 2
    assert again["options"]["attention_norm"] == "token"


def test_the_demo_keeps_the_settings_it_was_tuned_with():
    params = read_section("finetune", FinetuneParams, DEMO)
    module, options = load_plugin("pipeline.methods", "finetune", "method", "saft", params.options)
    recipe = resolve(params, module.PUBLISHED, options)
    assert recipe == Recipe(
        dataset="shapes-train", method="saft",
        options={"attention_refinement": 0.08, "attention_constraint": 0.05,
                 "attention_norm": "token"},
        optimiser="sgd", learning_rate=0.025, momentum=0.9, weight_decay=0.0,
        attack=TrainingAttack("linf", 4, 2, 2, 0, True), epochs=8, batch_size=64,
        warmup_steps=250, mix_alpha=1.0, augmentation="none", blocks=None, lora=None,
        gradient_clip=None, averaging=None, precision="float32", compile=False, seed=0,
        validation=Validation("shapes-train-validation", None, 75, 4, None, False, "linf", 4, 2),
    )  # fmt: skip
