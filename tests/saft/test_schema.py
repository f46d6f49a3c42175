"""All of a params file checked at once: keys, types, and names that must exist."""

import pytest
from ruamel.yaml import YAML

from pipeline.common.errors import UserError
from pipeline.common.params import read_params
from saft.schema import check_params
from tests.support.project import DEMO, ROOT

MODEL = {"source": "pretrain", "options": {"training": "small"}, "defended": False, "licence": None,
         "citation": None}  # fmt: skip
DIGITS = {"source": "digits", "skip": 0, "images": 9}
NAMES = {"classes_per_class": 3, "template": "a {}"}


def changed(**changes: object) -> list[str]:
    """Problems of the demo's file with some keys ("section/key") set."""
    values = read_params(DEMO)
    for path, value in changes.items():
        *parents, key = path.split("/")
        target = values
        for part in parents:
            target = target[part]
        target[key] = value
    return check_params(values)


@pytest.mark.parametrize("name", ["a.b", "a b", "a@b", "a/b", "a$b", "a{b}", "-a", "_a", "", "ä"])
def test_names_that_dvc_cannot_take(monkeypatch, name):
    monkeypatch.chdir(ROOT)
    entry = read_params(DEMO)["prepare"]["sets"]["digits"]
    exemplars = {name: {"images_per_class": 1, "candidates_per_class": None}}
    problems = changed(**{f"prepare/sets/{name}": entry} if "/" not in name else {})
    if "/" not in name:  # which `changed` reads as a level
        assert [f"params.yaml: prepare.sets: '{name}' cannot be a name" in x for x in problems] == [
            True
        ]
    assert any(
        f"params.yaml: exemplars: '{name}' cannot be a name" in text
        for text in changed(exemplars=exemplars)
    )
    texts = {"template": {"default": ["{}"]}, name: {"default": ["{}"]}}
    problems = changed(**{"embed/texts": texts})
    assert any(f"embed.texts: '{name}' cannot be a name" in text for text in problems)


def test_names_that_dvc_can_take(monkeypatch):
    monkeypatch.chdir(ROOT)
    entry = read_params(DEMO)["prepare"]["sets"]["digits"]
    assert changed(**{"prepare/sets/2nd-Set_x": entry}) == []
    assert any("unknown section '5'" in text for text in check_params({5: 1, "x": 2}))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("finetune/dataset", "x", "finetune.dataset: prepare.sets has no set 'x'"),
        ("describe/dataset", "x", "describe.dataset: prepare.sets has no set 'x'"),
        ("pretrain/small/dataset", "x", "pretrain.small.dataset: prepare.sets has no set 'x'"),
        ("pretrain/small/k", 5, "pretrain.small: unknown key 'k'"),
        ("pretrain", None, "pretrain: expected a section with keys, found None"),
        ("models/base/k", 5, "models.base: unknown key 'k'"),
        ("models/base/source", "x", "models.base.source: 'x' is not one of checkpoint, local"),
        ("models/base/options/k", 5, "models.base.options: unknown key 'k'"),
        ("models/base/options/training", "x", "section pretrain has small, no 'x'"),
        ("models/base/defended", "x", "models.base: key 'defended'"),
        ("models", [], "models: expected a section with keys, found []"),
        ("models", {}, "models has no 'base', from which 'finetuned' of evaluate.models is made"),
        ("models/finetuned", MODEL, "models.finetuned: this name stands for the model that sect"),
        ("models/a.b", MODEL, "models: 'a.b' cannot be a name"),
        ("pretrain/a b", {}, "pretrain: 'a b' cannot be a name"),
        ("evaluate/models", ["x"], "evaluate.models: section models has no 'x'; there are base, f"),
        ("evaluate/models", [], "evaluate: key 'models'"),
        ("evaluate/models", ["base", "base"], "evaluate.models names base 2 times; once is enough"),
        ("evaluate/epsilons_255", [4, 0], "evaluate: key 'epsilons_255.1': Input should be gr"),
        ("evaluate/epsilons_255", [4, 4.0], "evaluate.epsilons_255 names 4 2 times"),
        ("evaluate/epsilons_255", [], "evaluate: key 'epsilons_255'"),
        ("evaluate/datasets", ["digits"] * 2, "evaluate.datasets names digits 2 times"),
        ("report/reference", "x", "report.reference: 'x' is not in evaluate.models, base, fin"),
        ("finetune/validation/dataset", "x",
         "finetune.validation.dataset: prepare.sets has no set 'x'"),
        ("finetune/validation/dataset", "digits",
         "finetune.validation.dataset: 'digits' is in evaluate.datasets too"),
        ("finetune/validation/dataset", "shapes-train",
         "finetune.validation.dataset: 'shapes-train' is in finetune.dataset too"),
        ("prepare/sets/none", DIGITS, "prepare.sets.none: this name stands for none"),
        ("evaluate/datasets", ["x"], "evaluate.datasets: prepare.sets has no set 'x'"),
        ("evaluate/checks/datasets", ["x"], "evaluate.checks.datasets: prepare.sets has no set"),
        ("evaluate/texts", ["x"], "evaluate.texts: 'x' is not a text set"),
        ("evaluate/attacker", "x", "evaluate.attacker: 'x' is not a text set"),
        ("embed/texts", {"a": {"default": ["{}"]}}, "embed.texts has no 'template'"),
        ("embed/texts/same", {"default": ["{}"]}, "embed.texts.same: this name stands for the te"),
        ("embed/texts/descriptions", {}, "embed.texts.descriptions: this name stands for the kep"),
        ("exemplars", {"none": {}}, "exemplars.none: missing key 'images_per_class'"),
        ("describe/exemplars", "x", "describe.exemplars: 'x' is not one of none"),
        ("describe/per_image", "x", "describe: key 'per_image': Input should be a valid boolean"),
        ("describe/prompts", "x", "describe.prompts: data/prompts has no 'x', only appearance"),
        ("finetune/method", "x", "finetune.method: 'x' is not one of agft"),
        ("finetune/captions", "x.parquet", "finetune.captions: x.parquet: not found; name a file"),
        ("finetune/captions", "data/images/x/items.parquet", "is not of finetune.dataset, whose"),
        ("finetune/captions", "data/descriptions/captions.parquet", "only with describe.per_image"),
        ("evaluate/attacks", ["x"], "evaluate.attacks: 'x' is not one of apgd_ce"),
        ("finetune/options/saft/k", 5, "finetune.options.saft: unknown key 'k'"),
        ("evaluate/options/fgsm/k", 5, "evaluate.options.fgsm: unknown key 'k'"),
        ("prepare/sets/digits/k", 5, "prepare.sets.digits: unknown key 'k'"),
        ("prepare/sets/digits/source", "x", "prepare.sets.digits.source: 'x' is not one of"),
        ("evaluate/checks/steps", 1, "evaluate.checks: key 'steps'"),
        ("exemplars", {"near": {}}, "exemplars.near: missing key 'images_per_class'"),
        ("confusions", {"text": {}}, "confusions: missing key 'images'"),
        ("confusions/text", {"none": NAMES}, "confusions.text.none: this name stands for none"),
        ("confusions/text", {"a.b": NAMES}, "confusions.text: 'a.b' cannot be a name"),
        ("confusions/text", {"a": {"template": "{}"}}, "missing key 'text.a.classes_per_class'"),
        ("confusions/text", {"a": NAMES | {"template": "x"}}, "text.a.template': Value error"),
        ("confusions/images", {"a": NAMES}, "missing key 'images.a.images_per_class'"),
        ("describe/confusions", "x", "describe.confusions: 'x' is not one of none"),
        ("extra", {}, "unknown section 'extra'"),
        ("finetune/optimiser", "adamw", "finetune.weight_decay is null"),
    ],
)  # fmt: skip
def test_every_kind_of_problem_in_params_is_found(monkeypatch, path, value, message):
    monkeypatch.chdir(ROOT)
    problems = changed(**{path: value})
    assert any(message in text for text in problems), problems
    assert all(text.startswith("params.yaml: ") and "\n" not in text for text in problems)


def test_confusable_classes_have_one_name_in_both_lists(monkeypatch):
    monkeypatch.chdir(ROOT)
    photos = NAMES | {"images_per_class": None}
    chosen = {"describe/confusions": "photos"}
    assert changed(confusions={"text": {"a": NAMES}, "images": {"photos": photos}}, **chosen) == []
    [text] = changed(confusions={"text": {"photos": NAMES}, "images": {"photos": photos}})
    assert "confusions: 'photos' is in text and in images, which share a file" in text


def test_all_problems_are_found_at_once(monkeypatch):
    monkeypatch.chdir(ROOT)
    problems = changed(**{"finetune/dataset": "x", "data/root": 3, "evaluate/texts": ["y"]})
    assert len(problems) == 3


def test_values_come_back_as_they_were(monkeypatch):
    monkeypatch.chdir(ROOT)
    values = read_params(DEMO)
    assert check_params(values) == []
    assert values == YAML(typ="safe", pure=True).load(DEMO.read_text())


def test_without_the_section_that_makes_the_fine_tuned_model(monkeypatch):
    monkeypatch.chdir(ROOT)
    values = read_params(DEMO)
    del values["finetune"]
    missing = "params.yaml: missing section 'finetune'"
    assert check_params(values) == [f"{missing}, which makes 'finetuned' of evaluate.models"]
    values["evaluate"]["models"] = ["base"]
    assert check_params(values) == [missing]


def test_what_is_not_evaluated_needs_no_base_model(monkeypatch):
    monkeypatch.chdir(ROOT)
    changes = {"models": {"fare": MODEL}, "evaluate/models": ["fare"], "report/reference": "fare"}
    assert changed(**changes) == []
    [text] = changed(**changes, **{"evaluate/texts": ["descriptions"]})
    assert text.endswith(
        "models has no 'base', from which text set 'descriptions' is filtered; add it"
    )


def test_two_models_of_one_name_are_one_line(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text("models:\n  fare: {source: local}\n  fare: {source: local}\n")
    with pytest.raises(UserError) as caught:
        read_params(file)
    assert str(caught.value) == (
        f'{file}: line 3: found duplicate key "fare"; a name may be there once'
    )
