"""Which classes count as fine-tuned on."""

import pytest
from timm.data import ImageNetInfo

from pipeline.images.classes import ClassEntry
from pipeline.results.seen_classes import SAME_CLASS, training_overlap


def entries(*class_ids: str, name: str = "x") -> list[ClassEntry]:
    return [ClassEntry(class_id, name) for class_id in class_ids]


def test_a_class_is_known_by_its_id_and_not_by_its_name():
    assert training_overlap(entries("n1", "n2"), entries("n2", "n3")) == 1
    assert training_overlap(entries("n1"), entries("n2")) == 0, "crane and crane"


def test_classes_of_the_table_are_the_same_in_both_directions():
    cifar, imagenet = entries("lion", "boy"), entries("n02129165", "n02110185")
    assert training_overlap(cifar, imagenet) == 1
    assert training_overlap(imagenet, cifar) == 1
    assert training_overlap(cifar, cifar) == 2


@pytest.mark.parametrize(("class_id", "wnid"), SAME_CLASS.items())
def test_the_id_is_a_lemma_of_the_synset(class_id, wnid):
    lemmas = ImageNetInfo("imagenet-1k").label_name_to_description(wnid).split(", ")
    assert class_id.replace("_", " ") in lemmas


def test_no_class_is_in_the_table_twice():
    assert len(set(SAME_CLASS.values())) == len(SAME_CLASS)
