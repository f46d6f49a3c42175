"""Which images stand for a class, and the filter that trusts images more than words."""

import io

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from pipeline.clip import model as clip
from pipeline.common.errors import UserError
from pipeline.common.tables import read_table, write_table
from pipeline.descriptions import exemplars
from pipeline.filtering.image_features import (
    class_means,
    encode_images,
    nearest_to_mean,
    sample_per_class,
)
from pipeline.images.classes import ClassEntry
from pipeline.images.image_set import ImageSet, open_images

CPU = torch.device("cpu")
CLASSES = [ClassEntry("n1", "ant"), ClassEntry("n2", "bee")]


def test_candidates_are_spread_over_each_class():
    images = ImageSet("x", np.zeros((9, 3, 2, 2)), np.array([0, 1] * 4 + [0]), [None] * 9, CLASSES)
    assert sample_per_class(images, None).tolist() == list(range(9))
    assert sample_per_class(images, 2).tolist() == [0, 1, 4, 5]
    empty = ImageSet("x", np.zeros((1, 3, 2, 2)), np.array([0]), [None], CLASSES)
    with pytest.raises(UserError, match="data/images/x: class 'n2' has no image"):
        sample_per_class(empty, None)


def test_the_nearest_to_the_mean_come_first():
    features = F.normalize(torch.tensor([[1.0, 0], [0, 1], [1, 1], [0, -1], [1, 0.9]]), dim=-1)
    labels = np.array([0, 0, 0, 1, 0])
    means = class_means(features, labels, 2)
    torch.testing.assert_close(means.norm(dim=-1), torch.ones(2))
    torch.testing.assert_close(means[0], F.normalize(features[[0, 1, 2, 4]].mean(0), dim=-1))
    near = nearest_to_mean(features, labels, 2, count=2)
    assert [index for index, _ in near[0]] == [2, 4]
    assert [index for index, _ in near[1]] == [3], "a class may have fewer"
    every = nearest_to_mean(features, labels, 2, None)
    assert [[index for index, _ in rows] for rows in every] == [[2, 4, 0, 1], [3]]
    assert near[0][0][1] == pytest.approx(float(features[2] @ means[0]), abs=1e-6)


def test_features_are_those_of_the_encoder_on_unit_pixels(packed, clip_folder):
    images = open_images("tiny")
    encoder = clip.image_encoder(clip.load(clip_folder))
    numbers = np.array([4, 0, 7])
    features = encode_images(encoder, images.pixels, numbers, CPU, batch=2)
    pixels = torch.from_numpy(np.stack([images.pixels[n] for n in numbers])).float() / 255
    with torch.no_grad():
        torch.testing.assert_close(features, encoder(pixels).pooled)


def test_an_exemplar_file_carries_the_images_themselves(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 8, 8), dtype=np.uint8)
    columns = exemplars.to_columns(CLASSES, [[(2, 0.9), (0, 0.5)], [(1, 0.7)]], pixels)
    write_table(exemplars.FOLDER / "near.parquet", columns, exemplars.SCHEMA)
    first = (exemplars.FOLDER / "near.parquet").read_bytes()
    write_table(exemplars.FOLDER / "near.parquet", columns, exemplars.SCHEMA)
    assert (exemplars.FOLDER / "near.parquet").read_bytes() == first
    images_of = exemplars.read_exemplars("near", CLASSES, CLASSES)
    assert [[e.image for e in images_of[c]] for c in ("n1", "n2")] == [[2, 0], [1]]
    back = np.asarray(Image.open(io.BytesIO(images_of["n1"][0].png))).transpose(2, 0, 1)
    np.testing.assert_array_equal(back, pixels[2])
    more = [*CLASSES, ClassEntry("n3", "cat")]
    with pytest.raises(
        UserError, match="no exemplar for class 'n3'.*dvc repro stages/dvc.yaml:exemplars@near"
    ):
        exemplars.read_exemplars("near", more, more)
    with pytest.raises(UserError, match=r"far\.parquet: not found"):
        exemplars.read_exemplars("far", CLASSES, CLASSES)


def test_the_committed_file_has_no_exemplar():
    from tests.support.project import ROOT

    table = read_table(ROOT / "data/exemplars/none.parquet", exemplars.SCHEMA)
    assert table.num_rows == 0
    assert pq.read_schema(ROOT / "data/exemplars/none.parquet").equals(exemplars.SCHEMA)
