"""Class names filled into templates."""

import open_clip
import pytest

from pipeline.common.errors import UserError
from pipeline.common.params import read_params, validate
from pipeline.embeddings.templates import EmbedParams, class_folders, fill, templates_of
from pipeline.images.classes import CHECKED, EVALUATED, ClassEntry
from pipeline.zeroshot.text_tables import TEMPLATE
from tests.support.project import DEMO

ANT, BEE = ClassEntry("n1", "ant"), ClassEntry("n2", "bee")


def test_every_class_has_a_text_for_each_template():
    table = fill("t", [ANT, BEE], ["a {}", "the {}!"])
    assert (table.name, table.templates) == ("t", ["a {}", "the {}!"])
    assert table.class_ids == ["n1", "n1", "n2", "n2"]
    assert table.slots == [0, 1, 0, 1]
    assert table.texts == ["a ant", "the ant!", "a bee", "the bee!"]


def test_a_name_with_a_brace_is_put_in_as_it_is():
    assert fill("t", [ClassEntry("n1", "{0} {}")], ["a {}"]).texts == ["a {0} {}"]


def test_templates_are_the_sets_own_or_default():
    chosen = {"default": ["a {}"], "x": ["the {}", "{}!"]}
    assert templates_of("t", "x", chosen) == ["the {}", "{}!"]
    assert templates_of("t", "y", chosen) == ["a {}"]
    with pytest.raises(UserError, match="embed.texts.only has neither 'y' nor 'default'"):
        templates_of("only", "y", {"x": ["{}"]})


def test_own_templates_are_those_that_the_source_brings_along():
    assert templates_of("t", "x", {"default": "own"}, ["one {}"]) == ["one {}"]
    assert templates_of("t", "x", {"default": ["a {}"]}, ["one {}"]) == ["a {}"]
    with pytest.raises(UserError, match="embed.texts.t asks for the own templates of 'x'"):
        templates_of("t", "x", {"default": "own"})


@pytest.mark.parametrize("bad", ["no slot", "{} and {}"])
def test_a_template_needs_one_slot(bad):
    where = "params.yaml: embed"
    with pytest.raises(UserError, match=r"texts.t.x.* needs exactly one \{\}"):
        validate({"texts": {"t": {"x": [bad]}}}, EmbedParams, where)
    with pytest.raises(UserError, match="key 'texts.t.x"):
        validate({"texts": {"t": {"x": "imagenet"}}}, EmbedParams, where)


def test_openai_is_its_80_templates():
    templates = templates_of("o", "any", {"default": "openai"})
    assert len(templates) == len(set(templates)) == 80
    assert all(text.count("{}") == 1 for text in templates)
    assert templates == [f("{}") for f in open_clip.OPENAI_IMAGENET_TEMPLATES]
    assert "a photo of a {}." in templates


def test_the_committed_text_sets_hold():
    chosen = validate(read_params(DEMO)["embed"], EmbedParams, "params.yaml: embed")
    assert TEMPLATE in chosen.texts
    for name, templates in chosen.texts.items():
        assert templates_of(name, "digits", templates)


def test_each_set_has_one_class_table_that_of_the_evaluated_sets_first():
    folders = {"a": EVALUATED, "b": EVALUATED, "c": CHECKED}
    assert class_folders(["a", "b"], ["b", "c"]) == folders
