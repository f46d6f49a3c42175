"""Which questions of a language model can be asked, and the forms in which it writes the class."""

import pytest

from saft.prompts.questions import is_usable, usable_questions, with_slot


@pytest.mark.parametrize(
    "written",
    [
        "{}", "{ }", "{class}", "{CLASS}", "{class_name}", "{class name}", "{{category}}",
        "${class}", "$class", "[CLASS]", "[class name]", "<class>", "<class name>", "(class)", "%s",
        "__CLASS__", "CLASS", "CLASS NAME", "'{}'", '"{label}"', "`{}`", "**{class}**", "“{}”",
        "a {}", "an {object}", "the [CLASS]", "this <class>", "each {land-use type}",
    ],
)  # fmt: skip
def test_every_form_of_the_class_becomes_one_slot(written):
    question = with_slot(f"Which colours does {written} show\nfrom above?")
    assert question == "Which colours does {} show from above?"
    assert is_usable(question)


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("what shape do {class}'s wings have?", "What shape do {}'s wings have?"),
        ("What is the outline of the {}?", "What is the outline of {}?"),
        ("The {} has which outline?", "{} has which outline?"),
        ("Which marks distinguish {} from others?", "Which marks distinguish {} from others?"),
        ("Which lines can be seen in {}?", "Which lines can be seen in {}?"),
        ("How does a photo showing {} look?", "How does a photo showing {} look?"),
    ],
)
def test_questions_that_can_be_asked(text, question):
    assert usable_questions([text], 5) == [question]


@pytest.mark.parametrize(
    "text",
    [
        "Which colours are typical?",  # no class
        "Which parts do {} and {} share?",
        "Describe the colours of {}.",
        "What colours does {} show",
        "What do {}s look like?",
        "Which shapes do non-{} have?",
        "Which colours does the typical {} have?",
        "Which colours do different {} have?",
        "Which colours does {} have in [this place]}?",
        "What sounds does {} make?",
        "What is {} used for?",
        "Which colours are seen in {} scenes?",
        "Which shadows fall in {} images?",
        "Which class of land does {} belong to?",
        "Where is {} native?",
        "Which " + "very " * 28 + "red {}?",
    ],
)
def test_questions_that_cannot_be_asked(text):
    assert usable_questions([text], 5) == []


def test_repeats_and_surplus_are_left_out():
    texts = [
        "How is {} shaped?",
        "how is a [CLASS]  shaped?",
        "How is {}, shaped?",
        "How big is {}?",
    ]
    assert usable_questions(texts, 5) == ["How is {} shaped?", "How big is {}?"]
    assert usable_questions(texts, 1) == ["How is {} shaped?"]
