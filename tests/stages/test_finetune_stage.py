"""The stage itself, for every method: model, log, recipe and cost, on a tiny packed set."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML
from safetensors.torch import load_file

from pipeline.clip import model as clip
from pipeline.clip.folders import BASE_MODEL, MODEL, RECIPE
from pipeline.common import registry
from pipeline.common.tables import read_table
from pipeline.cost.files import read_cost
from pipeline.embeddings.captions import Captions, write_captions
from pipeline.embeddings.training_captions import FILE, NO_CAPTIONS, schema
from pipeline.zeroshot.text_sets import TRAINING
from saft.check.probe import measure_passes
from stages import finetune
from tests.support.failures import fails, one_line
from tests.support.trainable import encode, train, write_params
from tests.support.training_runs import WIDTH, changed

WEIGHTS = MODEL / clip.WEIGHTS_FILE


@pytest.mark.parametrize("method", registry.names("pipeline.methods"))
def test_every_method_leaves_a_model_a_log_a_recipe_and_its_cost(trainable, method):
    train(method=method)
    tuned, base = load_file(WEIGHTS), load_file(BASE_MODEL / clip.WEIGHTS_FILE)
    names = changed(base, tuned)
    assert names
    assert all(name.startswith("visual.") for name in names)
    recipe = json.loads(RECIPE.read_text())
    title = registry.load("pipeline.methods", method, "test").TITLE
    assert (recipe["method"], recipe["title"], recipe["dataset"]) == (method, title, "tiny")
    assert (recipe["images"], recipe["steps"], recipe["batch_size"]) == (16, 4, 8)
    assert (recipe["attack"] is None) == (method == "ft_clean")
    log = pd.read_csv(MODEL / "training.csv")
    assert list(log.step) == [0, 1, 2, 3]
    assert np.isfinite(log.to_numpy()).all()
    cost = read_cost(WEIGHTS, trainable)
    assert (cost["method"], cost["title"], cost["steps_timed"]) == (method, title, 4)
    assert cost["seconds_per_epoch"] == pytest.approx(cost["seconds"] / 2)
    assert cost["images"] == 32
    assert not list(Path(".scratch").glob("finetune-*/state.pt"))


@pytest.mark.parametrize("method", registry.names("pipeline.methods"))
def test_the_images_that_were_encoded_are_those_that_saft_check_expects(trainable, method, capsys):
    """Without the passes before the first step, with those of a frozen copy of the encoder."""
    train(method=method)
    cost, recipe = (
        read_cost(WEIGHTS, trainable),
        json.loads(RECIPE.read_text()),
    )
    module = registry.load("pipeline.methods", method, "test")
    options = YAML(typ="safe").load(Path("params.yaml"))["finetune"]["options"][method]
    expected = measure_passes(module, module.Params(**options))
    steps = recipe["attack"]["steps"] if recipe["attack"] else 0
    assert cost["work"]["float32"] == {
        "ascents": 32 * steps, "descents": 32 * expected.graph, "plain": 32 * expected.plain
    }  # fmt: skip
    assert cost["flop"] > 0
    assert 0 < cost["share"] < 1
    assert "finetune: 32 images in " in capsys.readouterr().out


def test_with_augmentation_a_pass_of_the_base_model_is_counted_in_every_step(trainable):
    train(method="fare", augmentation="flip")
    recipe, work = json.loads(RECIPE.read_text()), read_cost(WEIGHTS, trainable)["work"]["float32"]
    steps = recipe["attack"]["steps"]
    assert work == {"ascents": 32 * steps, "descents": 32, "plain": 32}
    assert recipe["augmentation"] == "flip"
    flipped = (MODEL / clip.WEIGHTS_FILE).read_bytes()
    train(method="fare")
    assert read_cost(WEIGHTS, trainable)["work"]["float32"]["plain"] == 0
    assert (MODEL / clip.WEIGHTS_FILE).read_bytes() != flipped


def test_a_method_that_trains_on_captions_says_where_they_are_missing(trainable, capsys):
    write_params(method="qt_aft", captions=str(NO_CAPTIONS))
    assert fails(finetune.main) == 1
    message = "params.yaml: finetune.captions has none, and the method trains on one of each image"
    assert message in one_line(capsys)
    write_params(method="qt_aft")
    (TRAINING / FILE).unlink()
    assert fails(finetune.main) == 1
    assert message in one_line(capsys)
    assert not MODEL.exists()
    train(method="fare", captions=str(NO_CAPTIONS))


def test_other_captions_train_another_model(trainable):
    train(method="qt_aft")
    first = WEIGHTS.read_bytes()
    ids = read_table(TRAINING / FILE, schema(WIDTH))["class_id"].to_pylist()
    the_same = Captions(list(range(len(ids))), ids, [""] * len(ids), ["a picture"] * len(ids))
    write_captions(TRAINING / FILE, the_same, encode)
    train(method="qt_aft")
    assert WEIGHTS.read_bytes() != first


def test_the_stage_gives_the_same_bytes_twice(trainable):
    def outputs() -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in MODEL.iterdir()}

    train(averaging=0.5, mix_alpha=0.5)
    first = outputs()
    train(averaging=0.5, mix_alpha=0.5)
    assert outputs() == first
    assert set(first) == {clip.WEIGHTS_FILE, clip.CONFIG_FILE, "recipe.json", "training.csv"}
    train(averaging=0.5, mix_alpha=0.25)
    assert outputs()[clip.WEIGHTS_FILE] != first[clip.WEIGHTS_FILE]


def test_what_prepare_left_out_of_the_training_set_is_in_the_recipe(trainable):
    """And nothing is where it left out nothing, so that nobody's bytes change."""
    train()
    recipe, weights = json.loads(RECIPE.read_text()), (MODEL / clip.WEIGHTS_FILE).read_bytes()
    assert not {"dropped", "set_notes"} & set(recipe)
    (file,) = Path("data/images").glob(f"{recipe['dataset']}/summary.json")
    summary = json.loads(file.read_text())
    summary["dropped"] = [{"source": "a.jpg", "reason": "truncated"}]
    summary["left_out"] = {"links": {"count": 2, "first": "b"}}
    file.write_text(json.dumps(summary))
    train()
    told = {"dropped": 1, "set_notes": ["links: 2 left out, e.g. b"]}
    assert json.loads(RECIPE.read_text()) == recipe | told
    assert (MODEL / clip.WEIGHTS_FILE).read_bytes() == weights
