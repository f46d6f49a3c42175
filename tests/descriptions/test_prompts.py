"""Prompt sets: versioned texts, and what a message holds."""

from pathlib import Path

import pytest

from pipeline.common.errors import UserError
from pipeline.descriptions.prompts import PromptSet, read_prompts

ROOT = Path(__file__).parents[2]
NAMES = sorted(file.stem for file in (ROOT / "data/prompts").glob("*.yaml"))
# A changed word needs a new version number, and then a new line here.
DIGESTS = {
    ("appearance", 1): "275cc077738ab191",
    ("caption", 1): "10a06bf51a5bf1d6",
    ("contrast", 1): "07e07ff81678837a",
    ("cupl", 1): "a75ca8357413fb84",
    ("digit", 1): "8b7a9d3be9eb1c5b",
    ("distinguishing", 1): "929077557fb4fe51",
    ("fine-grained", 1): "b0b2872fa3ad19a4",
    ("saft-m", 1): "03f1acc5fbad6e8f",
    ("satellite", 1): "2fe0308a96563e0f",
    ("scene", 1): "a891f79e1f27126b",
    ("texture", 1): "fc93e3995796347b",
    ("visual", 1): "0d7235cfcb18511f",
}


def prompt_set(name: str) -> PromptSet:
    return read_prompts(name, ROOT / "data/prompts")


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_text_has_a_new_version(name):
    prompts = prompt_set(name)
    assert prompts.digest()[:16] == DIGESTS[name, prompts.version]


def test_the_sets_of_the_field_are_there():
    assert {name for name, _ in DIGESTS} == set(NAMES)
    assert len(prompt_set("cupl").questions) == 5
    assert prompt_set("saft-m").questions == {
        **prompt_set("distinguishing").questions,
        **prompt_set("appearance").questions,
    }
    for word in ("origin", "history", "purpose"):
        assert word in prompt_set("visual").rules


@pytest.mark.parametrize("name", NAMES)
def test_a_message_names_class_and_count_and_pictures_where_there_are_any(name):
    prompts = prompt_set(name)
    for prompt_id in prompts.questions:
        plain = prompts.message(prompt_id, "owl {1}", 4, with_images=False)
        with_images = prompts.message(prompt_id, "owl {1}", 4, with_images=True)
        called = (prompts.called or "{}").replace("{}", "an owl {1}")
        assert called in plain.split("\n")[0]
        assert "exactly 4 strings" in plain
        assert "{}" not in plain
        assert "{count}" not in plain
        shown = "The picture above shows" if name == "caption" else "The pictures above show"
        assert with_images.startswith(f"{shown} {called}.")
        assert with_images.endswith(plain)


@pytest.mark.parametrize(
    ("name", "class_name", "read"),
    [
        ("satellite", "annual crop land", "a satellite image of annual crop land show"),
        ("satellite", "industrial buildings", "a satellite image of industrial buildings show"),
        ("satellite", "sea or lake", "a satellite image of a sea or lake show"),
        ("texture", "banded", "is a banded texture made of"),
        ("texture", "interlaced", "is an interlaced texture made of"),
        ("fine-grained", "707-320", "tell a 707-320 apart"),
        ("fine-grained", "F/A-18", "tell an F/A-18 apart"),
        ("fine-grained", "baby back ribs", "tell baby back ribs apart"),
        ("fine-grained", "Acura RL Sedan 2012", "tell an Acura RL Sedan 2012 apart"),
        ("scene", "abbey", "in a photo of an abbey:"),
        ("scene", "oast house", "in a photo of an oast house:"),
        ("digit", "7", "make up a 7 as a handwritten digit"),
        ("digit", "eight", "make up an eight as a handwritten digit"),
    ],
)
def test_questions_for_a_kind_of_data_set_read_well_with_its_classes(name, class_name, read):
    prompts = prompt_set(name)
    first = next(iter(prompts.questions))
    assert read in prompts.message(first, class_name, 5, with_images=False).split("\n")[0]
    for prompt_id in prompts.questions:
        message = prompts.message(prompt_id, class_name, 5, with_images=True)
        assert message.count("exactly 5 strings") == 1
        assert "{" not in message.replace('{"sentences": [...]}', "")


def test_what_a_class_is_called_stands_in_every_text_and_the_gloss_behind_it(tmp_path):
    text = (ROOT / "data/prompts/appearance.yaml").read_text()
    (tmp_path / "own.yaml").write_text(text + 'called: "{} texture"\n')
    plain, called = prompt_set("appearance"), read_prompts("own", tmp_path)
    expected = plain.message("appearance", "scaly texture", 4, True, gloss="like a {} fish")
    assert called.message("appearance", "scaly", 4, True, gloss="like a {} fish") == expected
    assert called.digest() != plain.digest()
    (tmp_path / "own.yaml").write_text(text + "called: texture\n")
    with pytest.raises(UserError, match=r"key 'called'.*exactly one \{\}"):
        read_prompts("own", tmp_path)
    for slot in ("{gloss}", "{count}", "{others}"):
        (tmp_path / "own.yaml").write_text(text + f'called: "{{}} texture {slot}"\n')
        with pytest.raises(UserError, match=r"key 'called'.*takes no slot but \{\}"):
            read_prompts("own", tmp_path)


def test_what_a_model_wrote_needs_the_line_that_says_it_was_read(tmp_path):
    text = (ROOT / "data/prompts/appearance.yaml").read_text() + "origin: {seed: 0}\n"
    for line in ("", "reviewed: null\n", "reviewed: false\n"):
        (tmp_path / "own.yaml").write_text(text + line)
        with pytest.raises(UserError, match=r"own\.yaml: a model wrote .* set reviewed: true"):
            read_prompts("own", tmp_path)
    (tmp_path / "own.yaml").write_text(text + "reviewed: true\n")
    assert read_prompts("own", tmp_path).digest() == prompt_set("appearance").digest()


def test_a_gloss_follows_the_name_in_the_question_and_nowhere_else():
    prompts = prompt_set("appearance")
    gloss = "large {} butterfly, {count} wings"
    plain = prompts.message("appearance", "monarch", 4, with_images=True)
    message = prompts.message("appearance", "monarch", 4, with_images=True, gloss=gloss)
    assert message == plain.replace(
        "What does a monarch typically", f"What does a monarch ({gloss}) typically"
    )
    assert prompts.message("appearance", "monarch", 4, with_images=True, gloss="") == plain


def test_the_other_classes_are_named_where_a_question_has_their_slot():
    prompts = prompt_set("contrast")
    assert prompts.names_others
    text = prompts.message("shape", "pike", 4, False, "a {others} fish", "a {count} or an eel")
    assert text.startswith(
        "Which parts, outlines and proportions can be seen on a pike (a {others} fish) but not on "
        "a {count} or an eel?\n"
    )
    assert "an eel" not in text.partition("\n")[2], "the rules forbid to name them"
    assert [name for name in NAMES if prompt_set(name).names_others] == ["contrast"]


def test_a_question_says_where_its_gloss_stands(tmp_path):
    text = (ROOT / "data/prompts/appearance.yaml").read_text()
    questions = text.replace("What does {} typically look like?", "Describe {}.{gloss}")
    (tmp_path / "own.yaml").write_text(questions)
    prompts = read_prompts("own", tmp_path)
    with_gloss = prompts.message("appearance", "alp", 4, with_images=False, gloss="a mountain")
    assert with_gloss.startswith("Describe an alp. (a mountain)\n")
    without = prompts.message("appearance", "alp", 4, with_images=False)
    assert without.startswith("Describe an alp.\n")


def test_bad_sets_are_named(tmp_path):
    (tmp_path / "cupl.yaml").write_text("version: 1\n")
    with pytest.raises(UserError, match=r"nothing\.yaml: no such prompt set; there are: cupl"):
        read_prompts("nothing", tmp_path)
    with pytest.raises(UserError, match=r"cupl\.yaml: missing key 'questions'"):
        read_prompts("cupl", tmp_path)
    good = (ROOT / "data/prompts/appearance.yaml").read_text()
    for old, new, message in (
        ("exactly {count}", "some", "rules needs {count}"),
        ("What does {}", "What does it", "exactly one {}"),
        ("above show {}", "above show it", r"key 'pictures'.*needs \{\}"),
        ("version: 1", "version: 0", "key 'version'"),
    ):
        assert old in good
        (tmp_path / "cupl.yaml").write_text(good.replace(old, new))
        with pytest.raises(UserError, match=message):
            read_prompts("cupl", tmp_path)
