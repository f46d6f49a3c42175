"""The finetune stage with a validation set, and the images that no two sets may share."""

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.clip import model as clip
from pipeline.clip.folders import MODEL, RECIPE
from pipeline.common.errors import UserError
from pipeline.cost.files import read_cost
from pipeline.distributed.ranks import SINGLE, Ranks
from pipeline.images.image_set import open_images
from pipeline.splits import shared_images
from pipeline.splits.shared_images import VALIDATION_IMAGES, candidates, check_not_validated
from pipeline.training import validation_set
from pipeline.training.checkpoint import save_state
from pipeline.training.shared_state import has_state
from pipeline.training.validation import CLEAN, ROBUST
from stages import finetune
from tests.support.launches import lines
from tests.support.trainable import train, write_params
from tests.support.validated import prepare, validation, write_images

CLASSES = ["n00", "n02"]


@pytest.fixture
def held(trainable, tmp_path) -> Path:
    """The class folders of set "held": other images of two of the three training classes."""
    root = write_images(tmp_path / "held", CLASSES)
    prepare(root)
    return root


def test_log_recipe_and_folder_tell_of_the_validation(held, capsys):
    train()
    expected = (MODEL / clip.WEIGHTS_FILE).read_bytes(), pd.read_csv(MODEL / "training.csv")
    work = read_cost(MODEL / clip.WEIGHTS_FILE, Path())["work"]
    assert not (MODEL / VALIDATION_IMAGES).exists()
    assert json.loads(RECIPE.read_text())["validation"] is None
    train(validation=validation(every=3, images=5))
    log, recipe = pd.read_csv(MODEL / "training.csv"), json.loads(RECIPE.read_text())
    assert (MODEL / clip.WEIGHTS_FILE).read_bytes() == expected[0]
    assert read_cost(MODEL / clip.WEIGHTS_FILE, Path())["work"] == work != {}
    pd.testing.assert_frame_equal(log.drop(columns=[CLEAN, ROBUST]), expected[1])
    assert list(log.step[log[CLEAN].notna()]) == list(log.step[log[ROBUST].notna()]) == [2, 3]
    assert {round(5 * share, 4) % 1 for share in log[CLEAN].dropna()} == {0.0}, "of five images"
    assert recipe["validation"] == validation(every=3, images=5) | {
        "norm": "linf", "epsilon_255": 4, "step_255": 2
    }  # fmt: skip
    assert (recipe["steps"], recipe["planned_steps"], recipe["saved_step"]) == (4, 4, 3)
    assert recipe["best_step"] == log.step[log[ROBUST].idxmax()]
    table = pd.read_parquet(MODEL / VALIDATION_IMAGES)
    assert list(table.source) == [f"{name}/{number}.png" for name in CLASSES for number in range(4)]
    assert "finetune: validation on held: clean " in capsys.readouterr().out


def test_the_stage_gives_the_same_bytes_twice(held):
    def outputs() -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in MODEL.iterdir()}

    chosen = validation(patience=1, keep_best=True)
    train(validation=chosen, averaging=0.5)
    first = outputs()
    train(validation=chosen, averaging=0.5)
    assert outputs() == first
    assert VALIDATION_IMAGES in first


def test_a_method_without_an_attack_is_validated_under_that_of_the_section(held):
    train(method="ft_clean", validation=validation())
    recipe = json.loads(RECIPE.read_text())
    assert recipe["attack"] is None
    assert recipe["validation"]["epsilon_255"] == 4


def refusal(capsys: pytest.CaptureFixture[str], **changes: object) -> str:
    """The one line with which the stage refuses; nothing is written."""
    write_params(validation=validation(**changes))
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        finetune.main()
    assert caught.value.code == 1
    assert not MODEL.exists()
    *_, line = lines(capsys.readouterr().err.replace("\r", "\n"))  # after a bar
    return line


def test_a_set_that_shares_an_image_is_refused(held, class_folders, tmp_path, capsys):
    root = write_images(tmp_path / "mixed", ["n00", "n01"])
    shutil.copy(class_folders / "n02/3.png", root / "n01/9.png")
    shutil.copy(root / "n01/9.png", root / "n01/8.png")  # the same image counts once
    prepare(root, "mixed")
    line = refusal(capsys, name="mixed", images=2)  # though those two are no training images
    assert line.endswith(
        "finetune.validation.dataset: set 'mixed' shares 1 image with set 'tiny', which is trained "
        "on: n01/8.png is n02/3.png there; choose a set without it"
    )


@pytest.mark.parametrize("size", [1, 2, 3])
def test_every_rank_counts_the_shared_images_of_all_in_equal_rounds(
    trainable, class_folders, tmp_path, monkeypatch, size
):
    """Each rank is a thread here. A rank that left early would break the barrier."""
    root = write_images(tmp_path / "mixed", ["n00", "n01"])
    for number, name in enumerate(["n02/3", "n00/1", "n01/2"]):
        shutil.copy(class_folders / f"{name}.png", root / f"n00/9{number}.png")
    prepare(root, "mixed")
    sets = open_images("mixed"), open_images("tiny")
    barrier, values, read = threading.Barrier(size), [{}] * size, []

    def gather(value, ranks):
        values[ranks.rank] = value
        barrier.wait(30)
        everywhere = list(values)
        barrier.wait(30)
        return everywhere

    def shared(known, pixels, numbers):
        read.append(len(numbers))
        return shared_images.shared(known, pixels, numbers)

    def message(rank: int) -> str:
        with pytest.raises(UserError) as caught:
            validation_set._check_apart(*sets, Ranks(rank, size))
        return str(caught.value)

    for name, changed in (("gather", gather), ("shared", shared), ("ROUND", 2)):
        monkeypatch.setattr(validation_set, name, changed)
    with ThreadPoolExecutor(size) as pool:
        messages = set(pool.map(message, range(size)))
    assert len(messages) == 1
    expected = "set 'mixed' shares 3 images with set 'tiny', which is trained on: n00/91.png is "
    assert expected + "n00/1.png there; choose a set without them" in messages.pop()
    assert max(read) == 2
    assert sum(read) == len(sets[1].labels)


def test_a_training_that_goes_on_does_not_compare_the_sets_again(held, monkeypatch):
    def refuse(*_):
        raise UserError("compared")

    monkeypatch.setattr(validation_set, "_check_apart", refuse)
    with pytest.raises(SystemExit):
        train(validation=validation())
    monkeypatch.setattr(finetune, "has_state", lambda folder, ranks: True)
    train(validation=validation())
    assert MODEL.exists()


def test_rank_0_tells_whether_there_is_a_state(tmp_path):
    assert not has_state(tmp_path, SINGLE)
    save_state(tmp_path, {"step": 1})
    assert has_state(tmp_path, SINGLE)


@pytest.mark.parametrize("streamed", [("mixed",), ("tiny",), ("mixed", "tiny")])
def test_a_shared_image_is_found_in_streamed_sets(
    trainable, class_folders, tmp_path, capsys, streamed
):
    root = write_images(tmp_path / "mixed", ["n00", "n01"])
    shutil.copy(class_folders / "n02/3.png", root / "n01/9.png")
    for name, folder in (("mixed", root), ("tiny", class_folders)):
        prepare(folder, name, stream=name in streamed)
    assert "n01/9.png is n02/3.png there" in refusal(capsys, name="mixed")
    few = candidates(open_images("tiny").pixels, open_images("mixed").pixels)
    assert len(few) == (1 if len(streamed) == 2 else 16)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tiny", "'tiny' is the training set; choose another set"),
        ("foreign", "class 'n07' (n07) of set 'foreign' is not one of 'tiny', which is trained on"),
        ("large", "the images of set 'large' have 32 pixels a side, those of 'tiny' 16"),
        ("absent", "data/images/absent/summary.json: not found"),
    ],
)
def test_a_set_that_cannot_validate_is_one_line(held, tmp_path, capsys, name, expected):
    if name == "foreign":
        prepare(write_images(tmp_path / "foreign", ["n00", "n07"]), "foreign")
    elif name == "large":
        prepare(held, "large", size=32)
    assert expected in refusal(capsys, name=name)


def test_an_empty_set_is_one_line(held, capsys):
    file = Path("data/images/held/summary.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"images": 0}))
    assert "finetune.validation.dataset: set 'held' has no image" in refusal(capsys)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"every": 0}, "params.yaml: finetune: key 'validation.every'"),
        ({"steps": 0}, "params.yaml: finetune: key 'validation.steps'"),
        ({"patience": 0}, "params.yaml: finetune: key 'validation.patience'"),
        ({"images": 0}, "params.yaml: finetune: key 'validation.images'"),
        ({"keep_best": "perhaps"}, "params.yaml: finetune: key 'validation.keep_best'"),
        ({"often": 3}, "params.yaml: finetune: unknown key 'validation.often'"),
    ],
)
def test_a_bad_value_is_one_line(held, capsys, changes, expected):
    assert expected in refusal(capsys, **changes)


def test_a_model_is_not_evaluated_on_what_its_training_was_validated_on(held, tmp_path):
    train(validation=validation())
    root = write_images(tmp_path / "test", CLASSES, per_class=2, seed=8)
    shutil.copy(held / "n00/2.png", root / "n02/9.png")
    prepare(root, "test")
    images, key = open_images("test"), "evaluate.datasets"
    check_not_validated(MODEL, images, np.arange(4), key)
    check_not_validated(MODEL.parent, images, np.arange(5), key)  # a model without the table
    message = (
        "params.yaml: evaluate.datasets: set 'test' shares 1 image with set 'held', which the "
        "training of the model was validated on: n02/9.png is n00/2.png there; choose a set "
        "without it"
    )
    with pytest.raises(UserError) as caught:
        check_not_validated(MODEL, images, np.arange(5), key)
    assert str(caught.value) == message
