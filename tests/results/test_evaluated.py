"""The folders of all models are read together, and only if they belong together."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file

from pipeline.common.errors import UserError
from pipeline.common.tables import write_json, write_table
from pipeline.results.evaluated import EvaluatedSet, read_evaluated
from pipeline.results.files import PREDICTIONS, evaluation_folder
from pipeline.results.metrics import SHARED, Metrics
from tests.support.report_inputs import ATTACKS, write_set

STRENGTHS = {"finetuned": 0.6, "other": 0.3, "base": 0.02}


@pytest.fixture
def tree(tree: Path) -> Path:
    """With a second epsilon and other strengths."""
    write_set(tree, "shapes", 60, STRENGTHS, 5, (2, 4))
    return tree


def read(epsilon: float = 4, **changes: Any) -> EvaluatedSet:
    return read_evaluated("shapes", "template", list(ATTACKS), epsilon, list(STRENGTHS), **changes)


def folder(attack: str, model: str) -> Path:
    return evaluation_folder("shapes", "template", attack, 4, model)


def change_metrics(path: Path, **changes: Any) -> None:
    write_json(path / "metrics.json", json.loads((path / "metrics.json").read_text()) | changes)


def refused() -> str:
    with pytest.raises(UserError) as raised:
        read(examples=True)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_models_keep_the_order_that_was_asked_for(tree: Path) -> None:
    evaluated = read()
    assert evaluated.models == list(STRENGTHS)
    assert evaluated.about.model == "finetuned"
    assert evaluated.examples is None
    for result in evaluated.attacks:
        assert list(result.predictions) == list(STRENGTHS)
        for model, metrics in result.metrics.items():
            right = sum(result.predictions[model]["robust_any"].to_pylist())
            assert metrics.model == model
            assert metrics.robust_any.correct == right


def test_an_epsilon_is_a_folder_of_its_own(tree: Path) -> None:
    assert [read(epsilon).about.epsilon_255 for epsilon in (2, 4)] == [2, 4]
    with pytest.raises(UserError, match=r"pgd/4\.0/finetuned/metrics.json: not found"):
        read(4.0)


def another(value: Any) -> Any:
    """A value of the same type that is not `value`."""
    if isinstance(value, dict):
        return value | ({"name": "x"} if "name" in value else {"steps": 1})
    if isinstance(value, list):
        return [*value, "x"]
    return f"{value}x" if isinstance(value, str) else (value or 0) + 1


@pytest.mark.parametrize("key", SHARED)
def test_what_models_must_share_is_checked_key_by_key(tree: Path, key: str) -> None:
    path = folder("apgd_ce", "other")
    written = json.loads((path / "metrics.json").read_text())
    value = written.get(key, []) if key == "set_notes" else written[key]
    change_metrics(path, **{key: another(value)})
    message = refused()
    assert "apgd_ce/4/other" in message
    # the numbers of images and classes are compared with the tables first
    first = {"images": "not the 61 images", "classes": "the class table of"}
    assert first.get(key, f"{key} is") in message


def test_every_key_is_shared_or_of_one_model(tree: Path) -> None:
    written = json.loads((folder("pgd", "other") / "metrics.json").read_text())
    of_one = {"model", "note", "clean", "robust_any", "robust_last"}
    assert set(SHARED) | of_one == set(Metrics.model_fields)
    assert set(written) - set(Metrics.model_fields) == {"judged", "largest_margin_difference"}


def test_another_models_verdicts_are_refused(tree: Path) -> None:
    change_metrics(folder("pgd", "other"), model="base")
    assert "pgd/4/other" in refused()
    assert "for 'other'" in refused()


def test_other_images_are_refused(tree: Path) -> None:
    path = folder("apgd_ce", "base") / "predictions.parquet"
    columns = pq.read_table(path).to_pydict()
    columns["number"] = [number + 1 for number in columns["number"]]
    write_table(path, columns, PREDICTIONS)
    first = "data/evaluation/shapes/template/pgd/4/finetuned/predictions.parquet"
    assert f"apgd_ce/4/base/predictions.parquet: not the images of {first}" in refused()


def test_examples_are_one_clean_image_and_a_perturbation_for_each_model(tree: Path) -> None:
    examples = read(examples=True).examples
    assert list(examples.models) == list(STRENGTHS)
    path = folder("pgd", "base") / "examples.safetensors"
    arrays = load_file(path)
    for name in ("perturbation", "clean_attention", "adversarial_attention"):
        assert np.array_equal(getattr(examples.models["base"], name), arrays[name])
    save_file(arrays | {"numbers": arrays["numbers"] + 1}, path)
    assert "pgd/4/base/examples.safetensors: not the images of the other" in refused()
    save_file(arrays | {"perturbation": arrays["perturbation"][:1]}, path)
    assert "the arrays differ" in refused()
    save_file(arrays | {"clean_attention": arrays["clean_attention"][:, 1:]}, path)
    assert "base/examples.safetensors: the attention maps are not one for each" in refused()
    save_file(arrays | {"adversarial_attention": 2 + arrays["adversarial_attention"]}, path)
    assert "base/examples.safetensors: attention maps are not in [0, 1]" in refused()


def test_notes_of_the_models_are_one_where_they_agree(tree: Path) -> None:
    assert read().attacks[0].notes == ""
    for model in STRENGTHS:
        change_metrics(folder("pgd", model), note="9 targets")
    assert read().attacks[0].notes == "9 targets"
    change_metrics(folder("pgd", "base"), note="8 targets")
    change_metrics(folder("pgd", "other"), note="")
    assert read().attacks[0].notes == "fine-tuned: 9 targets; base: 8 targets"
