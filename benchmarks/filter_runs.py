"""A corpus through the filter, once by each rule, with one CLIP."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import labelled
from benchmarks.filter_figures import Judged
from benchmarks.labelled import Corpus
from pipeline.clip import model as clip
from pipeline.filtering import ranking
from pipeline.filtering.cleaning import clean
from pipeline.filtering.filter import FilterParams
from pipeline.filtering.image_features import class_means, encode_images
from pipeline.filtering.similarity import order_by_relevance
from pipeline.images.classes import ClassEntry
from pipeline.images.decoding import ENDINGS, Encoded, decode

IMAGES_PER_CLASS = 20  # as filter.images_per_class of the demo


class Bench(NamedTuple):
    """One CLIP and the filter's parameters. encode: N texts -> float32 (N, D), unit norm."""

    model: clip.Clip
    params: FilterParams
    encode: ranking.Encode
    count: Callable[[Sequence[str]], list[int]]


def ranked(corpus: Corpus, bench: Bench, images: np.ndarray | None) -> dict[str, list[Judged]]:
    """rule -> every sentence of the corpus after the filter, in its order; none is `good` yet.

    Args:
        images: float32 (C, D), unit norm, the classes' mean image features; None: no `image`.
    """
    labels = {entry.class_id: label for label, entry in enumerate(corpus.classes)}
    texts, left = _cleaned(corpus, bench)
    names = [entry.name for entry in corpus.classes]
    templates = [bench.params.template.replace("{}", name) for name in names]
    name_features = bench.encode(names)
    sentences = ranking.Sentences(
        [texts[index] for index in left],
        np.array([labels[corpus.sentences[index].class_id] for index in left]),
        bench.encode([texts[index] for index in left]),
        name_features,
        ranking.confusable(name_features, names, ranking.NEIGHBOURS),
    )
    references = {"class_name": name_features, "template": bench.encode(templates)}
    references |= {} if images is None else {"image": images}
    values = {
        name: ranking.values("similarity", sentences._replace(references=array), bench.encode)
        for name, array in references.items()
    }
    for rule in ranking.RULES[1:]:
        values[rule] = ranking.values(rule, sentences, bench.encode)
    top_k = bench.params.top_k
    return {
        name: _judged(corpus, left, sentences.labels, array, top_k)
        for name, array in values.items()
    }


def _cleaned(corpus: Corpus, bench: Bench) -> tuple[list[str], list[int]]:
    """All texts after cleaning, and the numbers of those that it leaves."""
    of_class: dict[str, list[int]] = {}
    for index, sentence in enumerate(corpus.sentences):
        of_class.setdefault(sentence.class_id, []).append(index)
    texts, left = [""] * len(corpus.sentences), []
    name_of = {entry.class_id: entry.name for entry in corpus.classes}
    context = bench.model.tokenize.context_length
    for class_id, indices in of_class.items():
        originals = [corpus.sentences[index].text for index in indices]
        name = name_of[class_id]
        cleaned = clean(originals, bench.params.cleaning, context, bench.count, name)
        for index, result in zip(indices, cleaned, strict=True):
            texts[index] = result.text
            left += [index] if result.reason is None else []
    return texts, left


def _judged(
    corpus: Corpus, left: Sequence[int], labels: np.ndarray, values: np.ndarray, top_k: int
) -> list[Judged]:
    value_of = dict(zip(left, map(float, values), strict=True))
    kept: set[int] = set()
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        order = order_by_relevance(values[members], np.empty(0), 0)
        kept |= {left[members[rank]] for rank in order[:top_k]}
    return [
        Judged(
            sentence.class_id,
            False,
            index in kept,
            value_of.get(index, np.nan),
            np.nan if sentence.origin is None else value_of.get(sentence.origin, np.nan),
        )
        for index, sentence in enumerate(corpus.sentences)
    ]


def photograph_features(
    bench: Bench, folder: Path, classes: Sequence[ClassEntry], device: Any
) -> np.ndarray:
    """float32 (C, D), unit norm: mean features of at most IMAGES_PER_CLASS photographs in
    <folder>/<class id>/, evenly spaced over the sorted files."""
    encoder = clip.image_encoder(bench.model)
    pixels, labels = [], []
    for label, entry in enumerate(classes):
        files = sorted(
            f for f in (folder / entry.class_id).rglob("*") if f.suffix.lower() in ENDINGS
        )
        if not files:
            raise SystemExit(f"error: {folder / entry.class_id}: no image of class '{entry.name}'")
        count = min(IMAGES_PER_CLASS, len(files))
        for number in range(count):
            encoded = Encoded(files[number * len(files) // count])
            pixels.append(decode(encoded, encoder.image_size, "crop").pixels)
            labels.append(label)
    return _means(encoder, np.stack(pixels), np.array(labels), len(classes), device)


def drawn_features(bench: Bench, device: Any) -> np.ndarray | None:
    """The same of the demo's drawn classes; None: they are not of the model's size."""
    encoder = clip.image_encoder(bench.model)
    pixels, labels, classes = [], [], 0
    for source in labelled.drawn_images(IMAGES_PER_CLASS):
        if source.size != encoder.image_size:
            return None
        pixels += [source.decode(index).pixels for index in range(len(source.items))]
        labels += [classes + item.label for item in source.items]
        classes += len(source.classes)
    return _means(encoder, np.stack(pixels), np.array(labels), classes, device)


def _means(
    encoder: clip.ImageEncoder, pixels: np.ndarray, labels: np.ndarray, classes: int, device: Any
) -> np.ndarray:
    features = encode_images(encoder, pixels, np.arange(len(pixels)), device)
    return class_means(features, labels, classes).numpy()
