"""Classes that a text set cannot tell apart, by their texts alone."""

import pytest

from pipeline.images.same_texts import describe_same_texts, fill_templates, same_texts


def test_classes_with_the_same_texts_are_grouped_and_others_are_not() -> None:
    ids = ["n1", "n2", "n3", "n4", "n5"]
    texts = fill_templates(["a {}.", "the {}"], ["crane", "tench", "crane", "owl", "tench"])
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


def test_the_remark_names_set_text_set_and_ids() -> None:
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
