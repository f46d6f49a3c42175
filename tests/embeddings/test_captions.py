"""Captions of single images: read from where finetune.captions says, encoded, read again."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.common.errors import UserError
from pipeline.common.tables import read_table, write_table
from pipeline.descriptions import captions as described
from pipeline.embeddings.captions import Captions, read_captions, write_captions
from pipeline.embeddings.training_captions import FILE, NO_CAPTIONS
from pipeline.images.classes import ClassEntry
from pipeline.images.image_set import IMAGES, ITEM_SCHEMA, ImageSet
from pipeline.training.captions import read_captions as read_encoded
from pipeline.zeroshot.text_sets import TRAINING
from tests.support.fake_text_features import fake_encode
from tests.support.project import ROOT

CLASSES = [ClassEntry("n1", "ant"), ClassEntry("n2", "bee")]
ROWS = {"label": [1, 0, 1], "source": ["a", "b", "c"], "caption": ["a bee", " an ant", "a bee"]}
NUMBERED = {
    "class_id": ["n1", "n2", "n2", "n2"],
    "image": [1, 0, 2, 0],
    "sentence": ["an ant", "a bee", "a bee", "another"],
}
EXPECTED = Captions([0, 1, 2], ["n2", "n1", "n2"], ["a", "b", "c"], ["a bee", "an ant", "a bee"])
UNTOLD = EXPECTED._replace(sources=[""] * 3)
WIDTH = fake_encode(["a"]).shape[1]


def file_of(columns: dict[str, list]) -> Path:
    """A Parquet file as people write it."""
    path = Path("captions.parquet")
    pd.DataFrame(columns).to_parquet(path)
    return path


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def image_set(labels: list[int], sources: list[str] | None = None) -> ImageSet:
    """Set "tiny" of images of CLASSES, as far as captions are compared with it."""
    names = sources or [*"abcdefg"][: len(labels)]
    items = {"label": labels, "source": names, "caption": [None] * len(labels)}
    folder = IMAGES / "tiny"
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / "items.parquet", items, ITEM_SCHEMA)
    pixels = np.zeros((len(labels), 3, 2, 2), dtype=np.uint8)
    return ImageSet("tiny", pixels, np.array(labels), items["caption"], CLASSES)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (ROWS, EXPECTED),
        ({name: ROWS[name] for name in ("label", "caption")}, UNTOLD),
        (NUMBERED, UNTOLD),
    ],
    ids=["by row", "by row, without sources", "by number"],
)
def test_one_caption_of_each_image_is_read_the_first_of_several(columns, expected):
    assert read_captions(file_of(columns), CLASSES) == expected


def test_what_prepare_and_describe_write_can_be_read():
    assert {"label", "caption"} <= set(ITEM_SCHEMA.names)
    assert set(NUMBERED) <= set(described.SCHEMA.names)


def test_the_file_of_none_is_in_git_and_holds_none():
    assert read_captions(NO_CAPTIONS, CLASSES) is None
    assert len(read_table(ROOT / NO_CAPTIONS, ITEM_SCHEMA)) == 0


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (ROWS | {"caption": ["x", None, " "]}, r"no caption in row 1 \(2 of 3 have none\)"),
        (ROWS | {"label": [0, 2, 0]}, "label 2 is out of range, there are 2 classes"),
        (ROWS | {"label": ["x", "y", "z"]}, "columns are not label:int32, caption:string"),
        (NUMBERED | {"sentence": ["", "", "x", "y"]}, "no sentence in row 0"),
        (NUMBERED | {"class_id": ["n1", None, "n2", "n2"]}, "'class_id' has a row without a val"),
        (NUMBERED | {"class_id": ["n1", "n3", "n2", "n2"]}, "class 'n3' is none of finetune.datas"),
        (NUMBERED | {"image": [1, 0, -2, 0]}, "image -2 is below 0"),
        ({"label": [], "caption": []}, "holds no row"),
        ({"image": [0], "text": ["x"]}, "neither columns label, caption nor class_id, image, sent"),
    ],
)
def test_a_file_of_something_else_is_named(columns, message):
    with pytest.raises(UserError, match=f"captions.parquet: .*{message}"):
        read_captions(file_of(columns), CLASSES)


def test_a_file_that_is_not_there_or_no_table_is_named():
    with pytest.raises(UserError, match="absent.parquet: not found"):
        read_captions(Path("absent.parquet"), CLASSES)
    Path("images").mkdir()
    with pytest.raises(UserError, match="images: is a folder, not a Parquet file; let finetune.ca"):
        read_captions(Path("images"), CLASSES)
    Path("text.parquet").write_text("a bee")
    with pytest.raises(UserError, match="text.parquet: cannot be read as Parquet"):
        read_captions(Path("text.parquet"), CLASSES)


def test_each_different_caption_is_encoded_once_and_read_by_image():
    encoded: list[list[str]] = []

    def encode(texts: list[str]) -> np.ndarray:
        encoded.append(texts)
        return fake_encode(texts)

    assert read_encoded(image_set([1, 0, 1]), WIDTH) is None
    assert write_captions(TRAINING / FILE, EXPECTED, encode) == 2
    assert encoded == [["a bee", "an ant"]]
    vectors = read_encoded(image_set([1, 0, 1]), WIDTH)
    np.testing.assert_array_equal(vectors, fake_encode(EXPECTED.texts))
    assert vectors.dtype == np.float32
    first = (TRAINING / FILE).read_bytes()
    write_captions(TRAINING / FILE, EXPECTED, encode)
    assert (TRAINING / FILE).read_bytes() == first


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        ([0, 1, 3], [1, 0, 1, 1], r"image 2 of set 'tiny' has no caption \(1 of 4 have none\)"),
        ([0, 1, 2], [1, 0], "set 'tiny' has no image 2; let finetune.captions name"),
        ([0, 1, 2], [1, 0, 0], "image 2 has class_id 'n2' there, 'n1' in set 'tiny'"),
        ([1, 2, 7], [1, 0], r"image 0 of set 'tiny' has no caption \(1 of 2 have none\)"),
    ],
)
def test_captions_of_other_images_are_refused(images, labels, message):
    write_captions(TRAINING / FILE, EXPECTED._replace(images=images), fake_encode)
    with pytest.raises(UserError, match=message):
        read_encoded(image_set(labels), WIDTH)


def test_captions_of_a_set_with_the_same_classes_and_counts_are_refused():
    write_captions(TRAINING / FILE, EXPECTED, fake_encode)
    with pytest.raises(UserError, match="image 2 has source 'c' there, 'other' in set 'tiny'; let"):
        read_encoded(image_set([1, 0, 1], ["a", "b", "other"]), WIDTH)
    write_captions(TRAINING / FILE, UNTOLD, fake_encode)
    assert read_encoded(image_set([1, 0, 1], ["a", "b", "other"]), WIDTH) is not None


def test_embeddings_of_another_model_are_refused():
    write_captions(TRAINING / FILE, EXPECTED, fake_encode)
    with pytest.raises(
        UserError, match=f"captions.parquet: not embeddings of {WIDTH + 1} numbers; run"
    ):
        read_encoded(image_set([1, 0, 1]), WIDTH + 1)


@pytest.mark.parametrize("images", [[0, 2, 1], [0, 1, 1], [-1, 0, 1]])
def test_images_out_of_order_are_not_written(images):
    with pytest.raises(UserError, match="nothing was written"):
        write_captions(TRAINING / FILE, EXPECTED._replace(images=images), fake_encode)


def test_a_feature_that_is_not_of_unit_norm_is_named_with_its_image():
    write_captions(TRAINING / FILE, EXPECTED, lambda texts: fake_encode(texts) * [[1], [2]])
    with pytest.raises(UserError, match="feature of image 1, text 'an ant', has the norm 2, not 1"):
        read_encoded(image_set([1, 0, 1]), WIDTH)
