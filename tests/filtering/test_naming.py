"""Whether a sentence names its class, and the name put in for a pronoun."""

import pytest

from pipeline.filtering.cleaning import CleaningParams, clean
from pipeline.filtering.naming import has_pronoun_for_name, names_class, with_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("A red fox has a tail.", "red fox"),
        ("Foxes have a tail.", "red fox"),
        ("The fox's tail is long.", "red fox"),
        ("Two oxen pull a cart.", "ox"),
        ("Butterflies have wings.", "monarch butterfly"),
        ("The knives are sharp.", "knife"),
        ("A gasmask covers the face.", "gas mask or respirator"),
        ("A carton holds milk.", "cardboard box / carton"),
        ("This binocular is black.", "binoculars"),
        ("The GOLDFISH is orange.", "goldfish"),
    ],
)
def test_a_name_is_found_in_either_number(text, name):
    assert names_class(text, name)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("It has a tail.", "red fox"),
        ("The box is red.", "ox"),
        ("A flower is red.", "fly"),
        ("The animal is small.", "goldfish"),
    ],
)
def test_another_word_is_no_name(text, name):
    assert not names_class(text, name)


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("It is round.", "goldfish", "The goldfish is round."),
        ("It's round.", "goldfish", "The goldfish is round."),
        ("Its eyes are red.", "goldfish", "The goldfish's eyes are red."),
        ("Their eyes are red.", "goldfish", "The goldfish's eyes are red."),
        ("They have tails.", "red fox", "The red foxes have tails."),
        ("They're small.", "red fox", "The red foxes are small."),
        ("They have two lenses.", "binoculars", "The binoculars have two lenses."),
        ("Their lenses are round.", "binoculars", "The binoculars' lenses are round."),
        ("This is a small animal.", "red fox", "The red fox is a small animal."),
        ("These are small animals.", "red fox", "The red foxes are small animals."),
    ],
)
def test_the_name_stands_for_a_leading_pronoun(text, name, expected):
    assert with_name(text, name) == expected


@pytest.mark.parametrize(
    "text",
    [
        "It is a red fox.",  # named
        "The animal is small.",  # no pronoun
        "It is possible to see its tail.",  # stands for no thing
        "It is important that the lid closes.",
        "This animal is small.",
        "It-girl is written on the shirt.",
        "A tail is what it has.",
    ],
)
def test_other_sentences_stay_as_they_are(text):
    assert with_name(text, "red fox") == text
    assert not has_pronoun_for_name(text, "red fox")


@pytest.mark.parametrize(
    ("choice", "text", "reason"),
    [
        ("keep", "It is round.", None),
        ("drop", "It is round.", "needs_name"),
        ("insert", "The goldfish is round.", None),
    ],
)
def test_each_choice_for_a_sentence_without_the_name(choice, text, reason):
    params = CleaningParams(
        min_words=3,
        near_duplicate=1.0,
        too_long="drop",
        several_sentences="keep",
        needs_name=choice,
    )

    def words(texts):
        return [len(text.split()) + 2 for text in texts]

    [result] = clean(["It is round."], params, 77, words, class_name="goldfish")
    assert (result.text, result.reason) == (text, reason)
    assert result.tokens == len(text.split()) + 2, "counted with the name in it"
    [unnamed] = clean(["It is round."], params, 77, words)
    assert (unnamed.text, unnamed.reason) == ("It is round.", None)
