"""The sentences that were labelled one by one, and all others of their classes: data/labels/."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pipeline.backends.bundled import FILE as BUNDLED
from pipeline.datasets import shapes
from pipeline.images.classes import ClassEntry
from pipeline.images.image_set import ImageSource
from pipeline.prepare.wnids import class_entries
from pipeline.report.labels import read_rows

SENTENCES = Path("data/labels/llm")
COLUMNS = ("prompt_set", "class_id", "index", "label", "second_label", "doubtful", "sentence")
FALSE, OFF_TOPIC, VISUAL = "false", "off_topic", "visual"


class Sentence(NamedTuple):
    """A sentence of a class.

    label: one of pipeline.report.labels, or of benchmarks.planted; None where nobody read it.
    origin: the number of the sentence in its corpus that it was made from.
    """

    class_id: str
    text: str
    label: str | None = None
    origin: int | None = None


class Corpus(NamedTuple):
    """What one run describes: all classes, and the sentences of some or all of them."""

    classes: list[ClassEntry]
    sentences: list[Sentence]


def read_labels(prompt_set: str, doubtful: bool = True) -> dict[tuple[str, int], str]:
    """(class id, number of the sentence in its class's list) -> label; with or without those
    that the reader was in doubt about."""
    return {
        (row["class_id"], int(row["index"])): row["label"]
        for row in read_rows()
        if row["prompt_set"] == prompt_set and (doubtful or not row["doubtful"])
    }


def labelled_corpus(prompt_set: str, classes: list[ClassEntry], doubtful: bool = True) -> Corpus:
    """Every sentence of the model for a prompt set, with the labels of those that were read."""
    path = SENTENCES / f"{prompt_set}.json"
    sentences_of = json.loads(path.read_text(encoding="utf-8"))
    labels = read_labels(prompt_set, doubtful)
    return Corpus(classes, _sentences(sentences_of, classes, labels))


def bundled_corpus() -> Corpus:
    """The demo's own correct sentences, all of them true and visual, of its drawn classes."""
    classes = drawn_classes()
    bundled = json.loads(BUNDLED.read_text(encoding="utf-8"))
    sentences_of = {entry.class_id: bundled[entry.class_id]["sentences"] for entry in classes}
    labels = {(key, i): VISUAL for key, texts in sentences_of.items() for i in range(len(texts))}
    return Corpus(classes, _sentences(sentences_of, classes, labels))


def photographed_classes() -> list[ClassEntry]:
    """The 200 classes of Tiny-ImageNet, which `saft-m` describes, sorted, by their first lemma."""
    wnids = json.loads((SENTENCES / "saft-m.json").read_text(encoding="utf-8"))
    return class_entries(sorted(wnids), "wordnet", SENTENCES)


def drawn_classes() -> list[ClassEntry]:
    """The demo's coloured shapes and printed letters, fine-tuned on or not."""
    return [class_entry for source in drawn_images(1) for class_entry in source.classes]


def drawn_images(images_per_class: int) -> list[ImageSource]:
    """Images of `drawn_classes`, one source behind the other."""
    splits: tuple[shapes.Split, ...] = ("seen", "validation", "held-out")
    values = {"source": "shapes", "images_per_class": images_per_class, "seed": 1}
    return [
        shapes.open_source(shapes.Params(split=split, letters=split == "seen", **values))
        for split in splits
    ]


def _sentences(
    sentences_of: Mapping[str, list[str]],
    classes: list[ClassEntry],
    labels: Mapping[tuple[str, int], str],
) -> list[Sentence]:
    return [
        Sentence(class_entry.class_id, text, labels.get((class_entry.class_id, index)))
        for class_entry in classes
        for index, text in enumerate(sentences_of.get(class_entry.class_id, []))
    ]
