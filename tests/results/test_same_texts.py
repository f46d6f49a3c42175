"""Classes that a text set cannot tell apart, by their texts alone."""

import unicodedata

import pytest
from open_clip import tokenize

from pipeline.images.classes import ClassEntry, fill_templates
from pipeline.results.same_texts import describe_same_texts, same_texts, same_texts_remark

CRANES = [ClassEntry("n1", "crane"), ClassEntry("n2", "tench"), ClassEntry("n3", "Crane")]


def test_classes_with_the_same_texts_are_grouped_and_others_are_not() -> None:
    ids = ["n1", "n2", "n3", "n4", "n5"]
    names = ["crane", "tench", "crane", "owl", "tench"]
    texts = fill_templates(["a {}.", "the {}"], [ClassEntry("", name) for name in names])
    assert texts[0] == ["a crane.", "the crane"]
    assert same_texts(ids, texts) == [["n1", "n3"], ["n2", "n5"]]
    assert same_texts(ids[:2], texts[:2]) == []
    assert same_texts([], []) == []


def test_one_text_of_several_in_common_does_not_make_them_the_same() -> None:
    assert same_texts(["a", "b"], [["a bird", "it flies"], ["a bird", "it lifts"]]) == []
    assert same_texts(["a", "b"], [["a bird", "a bird"], ["a bird"]]) == []


def test_what_clip_does_not_see_makes_no_difference() -> None:
    assert same_texts(["a", "b"], [["Cardigan "], ["cardigan"]]) == [["a", "b"]]
    assert same_texts(["a", "b"], [["it flies", "a bird"], ["a bird", "it flies"]]) == [["a", "b"]]


def test_forms_that_clips_tokenizer_makes_one_are_the_same() -> None:
    decomposed = unicodedata.normalize("NFD", "café")
    for one, other in (
        ("café", decomposed),
        ("polar bear", "polar\u00a0bear"),
        ("o'o", "o\u2019o"),
    ):
        assert tokenize(f"a {one}.").equal(tokenize(f"a {other}."))
        assert same_texts(["a", "b"], [[f"a {one}."], [f"a {other}."]]) == [["a", "b"]]
    assert same_texts(["a", "b"], [["café"], ["cafe"]]) == []


def test_the_clause_names_set_text_set_and_ids() -> None:
    pair = describe_same_texts("birds", "template", [["n1", "n3"]])
    assert pair == "classes 'n1' and 'n3' of 'birds' have the same texts in text set 'template'"
    several = describe_same_texts("birds", "t", [["1", "2", "3"], ["4", "5"]])
    assert several == (
        "classes '1', '2' and '3' of 'birds' have the same texts in text set 't' (and 1 more such "
        "group)"
    )


def test_a_text_list_is_needed_for_every_class() -> None:
    with pytest.raises(ValueError, match="zip"):
        same_texts(["a", "b"], [["x"]])


def test_the_remark_says_which_classes_and_what_follows() -> None:
    assert same_texts_remark("birds", "template", ["a {}"], CRANES) == (
        "In this table, classes 'n1' and 'n3' of 'birds' have the same texts in text set "
        "'template' (name “crane”): no model can tell them apart, and of such a group only the "
        "first class is ever predicted."
    )
    four = [*CRANES, ClassEntry("n4", "tench")]
    remark = same_texts_remark("birds", "template", ["a {}"], four)
    assert remark is not None
    assert "(and 1 more such group) (names “crane”, “tench”)" in remark


def test_there_is_none_where_the_names_differ_or_are_not_the_texts() -> None:
    assert same_texts_remark("birds", "template", ["a {}"], CRANES[:2]) is None
    assert same_texts_remark("birds", "descriptions", [], CRANES) is None
