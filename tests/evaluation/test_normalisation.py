"""Mean and standard deviation: applied once, inside the model, whatever they are; the ball lies in
[0, 1], before them."""

from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from pipeline.clip import model as clip
from pipeline.clip.text_encoding import encode_texts
from pipeline.evaluation.interface import Targets
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier, load_classifier
from pipeline.images.decoding import fit
from pipeline.zeroshot.text_sets import TextSet
from tests.conftest import SIZE
from tests.support.classifiers import CPU, OURS, attack, settings

NAMES = ["red star", "blue ring", "dog", "cup"]
COUNT, EPSILON = 8, 3 / 255
NORMALISATIONS = {
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "CLIP's": (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD),
    "ImageNet's": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "odd": ((0.9, 0.1, 0.4), (0.02, 3.0, 0.5)),
}


def normalised(clip_folder: Path, name: str, folder: Path) -> Path:
    """The tiny CLIP with another normalisation in its config, in `folder`."""
    loaded = clip.load(clip_folder)
    config = clip.preprocess_config(*NORMALISATIONS[name], SIZE)
    clip.save(loaded.model, loaded.config | {"preprocess_cfg": config}, folder / name)
    return folder / name


@pytest.fixture
def pictures() -> list[Image.Image]:
    """Of the model's size: no resize, here or there, changes them."""
    rng = np.random.default_rng(0)
    shape = (COUNT, SIZE, SIZE, 3)
    return [Image.fromarray(values) for values in rng.integers(0, 256, shape, dtype=np.uint8)]


def texts(folder: Path) -> TextSet:
    """Features of one text for each class."""
    sentences = [f"a photo of a {name}" for name in NAMES]
    features = encode_texts(clip.load(folder), sentences, CPU).numpy()
    return TextSet("template", [], features[:, None])


def packed(pictures: list[Image.Image]) -> np.ndarray:
    return np.stack([fit(picture, SIZE, "native") for picture in pictures])


def classifier_of(folder: Path) -> ZeroShotClassifier:
    text_set = texts(folder)
    return load_classifier(folder, text_set, text_set, SIZE, False, CPU)


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_logits_are_those_of_open_clips_own_preprocessing(
    name, clip_folder, tmp_path, pictures
) -> None:
    folder = normalised(clip_folder, name, tmp_path)
    logits = classifier_of(folder)(clip.to_float_pixels(packed(pictures), CPU))
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(
        [f"a photo of a {name}" for name in NAMES]
    )
    images = torch.stack([preprocess(picture) for picture in pictures])
    with torch.no_grad():
        expected, _ = model.eval().get_logits(images, tokens)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)


def test_other_normalisations_are_other_logits(clip_folder, tmp_path, pictures) -> None:
    """Or the comparison above could not fail."""
    logits = []
    for name in NORMALISATIONS:
        classifier = classifier_of(normalised(clip_folder, name, tmp_path))
        logits.append(classifier(clip.to_float_pixels(packed(pictures), CPU)))
    for number, first in enumerate(logits):
        for second in logits[number + 1 :]:
            assert (first - second).abs().max() > 0.01


@pytest.mark.parametrize("name", OURS)
def test_the_ball_lies_before_the_normalisation(name, clip_folder, tmp_path, pictures) -> None:
    classifier = classifier_of(normalised(clip_folder, "odd", tmp_path))
    pixels = packed(pictures)
    images = clip.to_float_pixels(pixels, CPU)
    targets = Targets(pixels, np.arange(COUNT), classifier(images).argmax(1).numpy())
    module, options = attack(name, steps=3, step_255=2.0)
    chosen = settings(COUNT, epsilon=EPSILON, examples=np.arange(COUNT))
    outcome = module.run(classifier, targets, options, chosen)
    moved = torch.from_numpy(outcome.perturbations)
    assert 0.5 * EPSILON < moved.abs().max() <= EPSILON + 1e-6
    adversarial = images + moved
    assert adversarial.min() >= -1e-7
    assert adversarial.max() <= 1 + 1e-7
    assert outcome.prediction.tolist() == classifier(adversarial.clamp(0, 1)).argmax(1).tolist()
