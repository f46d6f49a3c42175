"""The benchmark of the filter: labels that fit their sentences, planted ones, and its figures."""

import csv
import json
import random

import numpy as np
import pytest

from benchmarks import labelled, planted
from benchmarks.draw_sentences import SEED as DRAW_SEED
from benchmarks.draw_sentences import STRATA, draw
from benchmarks.filter_figures import Judged, figures
from benchmarks.labelled import Corpus, Sentence, labelled_corpus, read_labels
from pipeline.images.classes import ClassEntry
from pipeline.report.labels import LABEL_NAMES, LABELS

NAN = float("nan")


def test_the_labelled_sentences_are_those_that_the_seed_draws():
    with LABELS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) == 300
    generator = random.Random(DRAW_SEED)
    drawn = []
    for prompt_set, stratum in STRATA.items():
        path = labelled.SENTENCES / f"{prompt_set}.json"
        sentences_of = json.loads(path.read_text(encoding="utf-8"))
        for class_id, index in draw(sentences_of, stratum, generator):
            text = " ".join(sentences_of[class_id][index].split())
            drawn.append((prompt_set, class_id, str(index), text))
    keys = ("prompt_set", "class_id", "index", "sentence")
    assert drawn == [tuple(row[key] for key in keys) for row in rows]


def test_every_label_is_one_of_the_rule_and_some_were_given_twice():
    with LABELS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert {row["label"] for row in rows} == LABEL_NAMES
    second = [row["second_label"] for row in rows if row["second_label"]]
    assert len(second) == 60
    assert set(second) <= LABEL_NAMES


def test_doubtful_labels_can_be_left_out():
    every, sure = (read_labels("saft-m", doubtful) for doubtful in (True, False))
    assert len(every) == 200
    assert 100 < len(sure) < 200
    assert sure.items() <= every.items()


def test_a_corpus_has_all_sentences_and_the_labels_of_some():
    corpus = labelled_corpus("cupl", [ClassEntry("n01443537", "goldfish")])
    assert len(corpus.sentences) == 10
    assert sum(sentence.label is not None for sentence in corpus.sentences) == 3


@pytest.mark.parametrize(
    ("text", "old", "new", "expected"),
    [
        ("An ox has horns.", "ox", "goat", "A goat has horns."),
        ("A goat eats.", "goat", "ox", "An ox eats."),
        ("Bees fly.", "bee", "ant", "Ants fly."),
        ("A plain of grass", "plain", "police van", "A police van of grass"),
        ("The van is white.", "police van", "school bus", "The bus is white."),
        ("It is round.", "bee", "ant", "It is round."),
        ("A goatee on a goat", "goat", "sheep", "A goatee on a sheep"),
    ],
)
def test_a_neighbours_sentence_gets_the_name_of_the_class(text, old, new, expected):
    assert planted.renamed(text, old, new) == expected


def test_one_word_of_each_kind_is_exchanged_and_the_name_never():
    text = "A red heart has two lobes of paper."
    edits = planted.edited(text, "red heart", random.Random(0))
    assert sorted(edits) == ["count", "material", "part"], "red is in the name"
    for edit in edits.values():
        changed = [(a, b) for a, b in zip(text.split(), edit.split(), strict=True) if a != b]
        assert len(changed) == 1, edit
        assert changed[0][0] in ("two", "lobes", "paper.")
    assert planted.edited("It is nice.", "bee", random.Random(0)) == {}
    assert planted.edited("A disc without any corners", "circle", random.Random(0)) != {}
    assert planted.edited("A thing without any corners", "circle", random.Random(0)) == {}


def test_hard_negatives_come_from_the_nearest_classes_with_true_sentences():
    classes = [ClassEntry(f"n{i}", name) for i, name in enumerate(["ant", "bee", "cat", "dog"])]
    sentences = [
        Sentence("n0", "An ant is small.", "visual"),
        Sentence("n1", "A bee is yellow.", "false"),
        Sentence("n2", "A cat has fur.", "visual"),
        Sentence("n2", "A cat is small.", "visual"),
        Sentence("n3", "A dog barks.", "visual"),
    ]
    directions = np.radians([0, 10, 20, 40])
    features = np.stack([np.cos(directions), np.sin(directions)], axis=1)
    result = planted.hard_negatives(Corpus(classes, sentences), features)
    # the ant's neighbours: bee (nothing true), cat, dog. The cat has two slots: dog (20 degrees),
    # ant (20 degrees, first by order), whose sentence it says itself
    assert [(sentence.class_id, sentence.text) for sentence in result] == [
        ("n0", "An ant has fur."),
        ("n2", "A cat barks."),
        ("n3", "A dog has fur."),
    ]


def test_figures_by_hand():
    judged = [
        Judged("a", True, True, 0.9, NAN),
        Judged("a", False, True, 0.5, 0.9),
        Judged("a", True, False, 0.4, NAN),
        Judged("b", False, False, 0.8, 0.8),
        Judged("b", True, False, NAN, NAN),
    ]
    result = figures(judged)
    assert result.precision[0] == 1 / 2  # two kept, one good
    assert result.recall[0] == 1 / 3  # three good, one kept
    assert result.chance[0] == 2 / 4  # of four that were ranked
    assert result.gain[0] == 1 / 2 - 2 / 4
    assert (result.auc.value, result.auc.count) == (1 / 2, 2)  # .9 > .5, .4 < .5
    assert (result.auc_all.value, result.auc_all.count) == (2 / 4, 4)  # and .9 > .8, .4 < .8
    assert (result.pairs.value, result.pairs.count) == ((1 + 0.5) / 2, 2)
    # of class b nothing was kept, so a resample has a's precision or none
    assert (result.precision.low, result.precision.high) == (0.5, 0.5)
    assert result.recall.low == 0
    assert result.recall.high == 0.5


def test_nothing_to_share_is_no_figure():
    result = figures([Judged("a", True, True, 0.5, NAN)])
    assert result.auc.count == 0
    assert np.isnan(result.auc.value)
