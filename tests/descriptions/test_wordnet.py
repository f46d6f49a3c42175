"""What a class means: WordNet's gloss by wnid, a class table's own, and the question with it."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.descriptions.answer_log import AnswerLog, Reply
from pipeline.descriptions.asking import collect_answers, generation_provenance
from pipeline.descriptions.generation_params import GenerationParams
from pipeline.descriptions.interface import Task
from pipeline.descriptions.messages import Query
from pipeline.descriptions.prompts import read_prompts
from pipeline.descriptions.wordnet import gloss_of, lemmas_of, synsets_of, with_glosses
from pipeline.images.classes import ClassEntry
from pipeline.prepare.wnids import all_wnids
from tests.support.tasks import OPTIONS, ROOT

MONARCH = ClassEntry("n02279972", "monarch")
BUTTERFLY = (
    "large migratory American butterfly having deep orange wings with black and white markings; "
    "the larvae feed on milkweed"
)


@pytest.mark.parametrize(
    ("wnid", "gloss"),
    [
        ("n02279972", BUTTERFLY),
        ("n02231487", "any of various mostly tropical insects having long twiglike bodies"),
        ("n02814860", "a tower with a light that gives warning of shoals to passing ships"),
        ("n10628644", "a nation's ruler or head of state usually by hereditary right"),  # of 21k
        ("n99999999", ""),
        ("monarch", ""),
        ("n1", ""),
        ("letter-a", ""),
    ],
)
def test_the_gloss_of_a_wnid_is_wordnets_without_the_lemmas(wnid, gloss):
    assert gloss_of(wnid) == gloss


def test_every_class_of_imagenet_has_a_gloss_in_one_line_that_is_not_its_lemmas():
    glosses = {wnid: gloss_of(wnid) for wnid in all_wnids()}
    assert len(glosses) == 1000
    for wnid, gloss in glosses.items():
        assert gloss == gloss.strip() != "", wnid
        assert "\n" not in gloss
        assert not gloss.startswith(", ".join(lemmas_of(wnid)))


def test_lemmas_and_the_synsets_that_share_one():
    assert lemmas_of("n02231487") == ["walking stick", "walkingstick", "stick insect"]
    assert lemmas_of("tench") == []
    assert synsets_of("Crane") == {"n02012849", "n03126707"}
    assert len(synsets_of("tench")) == 1
    assert synsets_of("teddy bear") == {"n04399382"}, "of 1k alone"
    assert synsets_of("green heart") == set()


def test_known_glosses_are_the_tables_own_first_and_none_removes_them_all():
    classes = [MONARCH, ClassEntry("n02279972b", "x"), ClassEntry("n02231487", "stick", "a stick")]
    assert [entry.gloss for entry in with_glosses(classes, "known")] == [BUTTERFLY, "", "a stick"]
    assert [entry.gloss for entry in with_glosses(classes, "none")] == ["", "", ""]
    assert [entry.name for entry in with_glosses(classes, "known")] == ["monarch", "x", "stick"]


def asked(folder: Path, classes: list[ClassEntry]) -> tuple[list[Query], dict[str, Any]]:
    """What a model is asked that answers everything, and the provenance."""
    queries: list[Query] = []

    def send(batch, keep):
        for query in batch:
            queries.append(query)
            reply = Reply('{"sentences": ["One.", "Two.", "Three."]}', True, 1, 1)
            keep(query, reply)
            yield query, reply

    prompts = read_prompts("appearance", ROOT / "data/prompts")
    log = AnswerLog(folder / "answers.jsonl")
    task = Task(classes, "appearance", prompts, {}, 0, log)
    params = GenerationParams.model_validate(OPTIONS)
    collect_answers(task, params, "model", {}, send)
    return queries, generation_provenance(task, params)


def test_the_question_has_the_gloss_and_only_its_answers_are_asked_again(tmp_path):
    classes = [MONARCH, ClassEntry("c0", "apple")]
    queries, provenance = asked(tmp_path, with_glosses(classes, "none"))
    assert queries[0].text.startswith("What does a monarch typically look like?")
    assert provenance["classes_with_gloss"] == 0
    again, provenance = asked(tmp_path, with_glosses(classes, "known"))
    assert {query.class_id for query in again} == {"n02279972"}
    assert again[0].text == queries[0].text.replace("a monarch typ", f"a monarch ({BUTTERFLY}) typ")
    assert again[0].seed == queries[0].seed
    assert provenance["classes_with_gloss"] == 1
