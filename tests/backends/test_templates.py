"""Templates in place of descriptions: as many wordings as are asked for, and cleaning keeps all."""

from typing import Any

import pytest

from pipeline.backends.templates import Params, describe
from pipeline.common.errors import UserError
from pipeline.common.params import read_params, read_section, validate
from pipeline.descriptions.interface import Answers, Task
from pipeline.descriptions.prompts import PromptSet
from pipeline.descriptions.tokens import count_tokens
from pipeline.filtering.cleaning import CleaningParams, clean
from pipeline.images.classes import ClassEntry
from tests.support.project import DEMO

CLASSES = [
    ClassEntry("n1", "ox"),
    ClassEntry("n2", "African elephant"),
    ClassEntry("n3", "prayer rug, prayer mat, used in the north-western half of Transcaucasia"),
    ClassEntry("n4", "St. Bernard"),
    ClassEntry("letter-a", "letter a"),
]
NO_QUESTIONS = PromptSet(version=1, questions={"a": "What is {}?"}, rules="{}", pictures="{}")
WHERE = "params.yaml: describe.options.templates"


def filled(**values: Any) -> Answers:
    params = validate({"count": None} | values, Params, WHERE)
    return describe(Task(CLASSES, "none", NO_QUESTIONS, {}, 0), params)


def test_each_class_has_each_template_in_its_order():
    answers = filled(templates=["a {}", "{}, seen", "the {}"], count=2)
    assert [(s.class_id, s.text, s.sample_index) for s in answers.sentences[:4]] == [
        ("n1", "a ox", 0),
        ("n1", "ox, seen", 1),
        ("n2", "a African elephant", 0),
        ("n2", "African elephant, seen", 1),
    ]
    assert {s.source for s in answers.sentences} == {"templates"}
    assert answers.provenance["templates"] == ["a {}", "{}, seen"]
    assert len(filled(templates=["a {}", "{}, seen", "the {}"]).sentences) == 15


def test_the_demo_s_templates_are_k_and_cleaning_keeps_all_as_they_are():
    demo = read_params(DEMO)
    options = demo["describe"]["options"]["templates"]
    assert len(options["templates"]) == demo["filter"]["top_k"]
    assert options["templates"][0] == demo["embed"]["texts"]["template"]["default"][0]
    cleaning = read_section("filter.cleaning", CleaningParams, DEMO)
    answers = filled(**options)
    for class_entry in CLASSES:
        raw = [s.text for s in answers.sentences if s.class_id == class_entry.class_id]
        cleaned = clean(raw, cleaning, 77, count_tokens, class_entry.name)
        assert [(c.text, c.reason) for c in cleaned] == [(text, None) for text in raw]


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"templates": []}, "needs a template, a sentence with one {}"),
        ({"templates": ["a cat"]}, "needs exactly one {}"),
        ({"templates": ["a {}", "a {}"]}, "to repeat one set filter.short_class: repeat"),
        ({"templates": ["a {}"], "count": 2}, "count is 2 and there are 1 templates; add some"),
        ({"templates": ["a {}"], "count": 0}, "key 'count'"),
    ],
)
def test_bad_options_are_one_line(values, line):
    with pytest.raises(UserError) as caught:
        filled(**values)
    assert str(caught.value).startswith(WHERE)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
