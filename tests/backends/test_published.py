"""Importing other people's description files: forms, matching in tiers, errors, provenance."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.backends import published
from pipeline.backends.published import Params, describe
from pipeline.common.errors import UserError
from pipeline.common.params import validate
from pipeline.common.tables import write_table
from pipeline.descriptions.artifact import SCHEMA, to_columns
from pipeline.descriptions.interface import Answers, Sentence, Task
from pipeline.descriptions.prompts import PromptSet
from pipeline.images.classes import ClassEntry

ROOT = Path(__file__).parents[2]
ANT, ELEPHANT = ClassEntry("n1", "ant"), ClassEntry("n2", "African elephant")
BIRD, MACHINE = ClassEntry("n3", "crane"), ClassEntry("n4", "crane")
NO_QUESTIONS = PromptSet(version=1, questions={"a": "What is {}?"}, rules="{}", pictures="{}")


@pytest.fixture(autouse=True)
def inputs(tmp_path, monkeypatch):
    """The folder whose files `published` reads."""
    monkeypatch.setattr(published, "FOLDER", tmp_path)


def imported(
    folder: Path,
    classes: list[ClassEntry],
    content: Any,
    decisions: Any = None,
    template: str | None = None,
    table: Sequence[ClassEntry] = (),
    grammar: str | None = None,
) -> Answers:
    """What comes of a file: `content` is a DataFrame, JSON text, or a value to dump as JSON."""
    path, aliases = folder / "d.json", folder / "aliases.json"
    if isinstance(content, pd.DataFrame):
        path = folder / "d.parquet"
        content.to_parquet(path)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    aliases.write_text(decisions if isinstance(decisions, str) else json.dumps(decisions or {}))
    values = {"file": path.name, "aliases": aliases.name, "descriptor_template": template}
    values["descriptor_grammar"] = grammar
    task = Task(classes, "none", NO_QUESTIONS, {}, 0, None, table)
    return describe(task, validate(values, Params, "params.yaml: describe.options.published"))


def texts(answers: Answers) -> list[tuple[str, str]]:
    return [(sentence.class_id, sentence.text) for sentence in answers.sentences]


def refused(folder: Path, *args: Any, **options: Any) -> str:
    """The message of the error, which must be one line."""
    with pytest.raises(UserError) as caught:
        imported(folder, *args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_part_of_the_classes_is_matched_as_in_the_whole(tmp_path):
    cranes = [ClassEntry("n1", "crane"), ClassEntry("n2", "crane"), ClassEntry("n3", "tench")]
    content = {"crane": ["a bird"], "tench": ["a fish"]}
    assert "'crane'" in refused(tmp_path, cranes[:1], content, table=cranes)
    assert texts(imported(tmp_path, cranes[2:], content, table=cranes)) == [("n3", "a fish")]
    decided = imported(tmp_path, cranes[:1], content, {"n2": None}, table=cranes)
    assert texts(decided) == [("n1", "a bird")]


# --- forms of files -----------------------------------------------------------------------


def test_lists_by_name_keep_their_order_and_are_counted_from_0(tmp_path):
    content = {"African elephant": ["grey", " big "], "ant": ["small"], "bee": ["striped"]}
    answers = imported(tmp_path, [ANT, ELEPHANT], content)
    assert answers.sentences == [
        Sentence("n1", "small", "published"),
        Sentence("n2", "grey", "published"),
        Sentence("n2", " big ", "published", sample_index=1),
    ]


def test_the_order_of_keys_is_not_the_order_of_classes(tmp_path):
    """Whoever zips the values with the data set's classes gets 11 % on Pets."""
    classes = [ANT, ELEPHANT, ClassEntry("n5", "bee")]
    content = {
        name: [f"{name} {i}" for i in range(3)] for name in ("bee", "African elephant", "ant")
    }
    written = []
    for number, names in enumerate((sorted(content), sorted(content)[::-1], list(content))):
        answers = imported(tmp_path, classes, {name: content[name] for name in names})
        columns = to_columns(answers.sentences, classes, lambda texts: [5] * len(texts))
        write_table(tmp_path / f"{number}.parquet", columns, SCHEMA)
        written.append(hashlib.sha256((tmp_path / f"{number}.parquet").read_bytes()).hexdigest())
        name_of = {entry.class_id: entry.name for entry in classes}
        assert all(s.text.startswith(name_of[s.class_id]) for s in answers.sentences)
    assert len(set(written)) == 1


@pytest.mark.parametrize("content", [{"ant": "small"}, {"ant": {"": "small"}}, {"ant": ["small"]}])
def test_one_sentence_needs_no_list(tmp_path, content):
    answers = imported(tmp_path, [ANT], content)
    assert answers.sentences == [Sentence("n1", "small", "published")]
    asked = imported(tmp_path, [ANT], {"ant": {"What is it?": "small", "And now?": ["a", "b"]}})
    assert [(s.prompt_id, s.sample_index, s.text) for s in asked.sentences] == [
        ("What is it?", 0, "small"), ("And now?", 0, "a"), ("And now?", 1, "b"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("descriptor", "clause"),
    [
        ("a long-tailed bird", "which is a long-tailed bird"),
        ("an insect", "which is an insect"),
        ("typically brown", "which typically brown"),
        ("typically has a tail", "which typically has a tail"),
        ("often seen in flocks", "which often seen in flocks"),
        ("may have a tail", "which may have a tail"),
        ("can be striped", "which can be striped"),
        ("has fins", "which has fins"),
        ("used for cutting", "which is used for cutting"),
        ("four limbs", "which has four limbs"),
        (" four limbs {class}", "which has four limbs {class}"),
        ("antlers", "which is antlers"),  # theirs too
    ],
)
def test_descriptors_become_clauses_as_dclips_authors_make_them(tmp_path, descriptor, clause):
    answers = imported(
        tmp_path, [ANT], {"ant": [descriptor]}, template="{class}, {text}", grammar="dclip"
    )
    assert texts(answers) == [("n1", f"ant, {clause}")]
    assert answers.provenance["descriptor_grammar"] == "dclip"
    plain = imported(tmp_path, [ANT], {"ant": [descriptor]}, template="{class}, {text}")
    assert texts(plain) == [("n1", f"ant, {descriptor}")]
    assert "descriptor_grammar" not in plain.provenance


def test_a_grammar_without_a_template_is_refused(tmp_path):
    with pytest.raises(UserError, match="descriptor_grammar is for descriptors: set descriptor_te"):
        imported(tmp_path, [ANT], {"ant": ["a"]}, grammar="dclip")


def test_a_file_with_a_byte_order_mark_is_read(tmp_path):
    content = '\ufeff{"ant": ["small"]}'
    assert texts(imported(tmp_path, [ANT], content, '\ufeff{"n1": "ant"}')) == [("n1", "small")]


def test_decisions_hold_in_every_unicode_form(tmp_path):
    """As macOS writes names: an id in two characters where the class table has one."""
    cafe = ClassEntry("café", "coffee house")
    for form in ("NFC", "NFD"):
        other = {"NFC": "NFD", "NFD": "NFC"}[form]
        content = {unicodedata.normalize(form, "crêpe"): ["thin"]}
        decisions = {unicodedata.normalize("NFD", "café"): unicodedata.normalize(other, "crêpe")}
        assert texts(imported(tmp_path, [cafe], content, decisions)) == [("café", "thin")]
    twice = {"café": "a", unicodedata.normalize("NFD", "café"): "a"}
    assert "key 'café' stands there in two forms" in refused(tmp_path, [cafe], {"a": ["b"]}, twice)


def test_questions_become_prompt_ids_each_counted_from_0(tmp_path):
    content = {"ant": {"What is it?": ["x", "y"], "And now?": ["z"]}}
    answers = [
        (s.prompt_id, s.sample_index, s.text) for s in imported(tmp_path, [ANT], content).sentences
    ]
    assert answers == [("What is it?", 0, "x"), ("What is it?", 1, "y"), ("And now?", 0, "z")]


def test_several_keys_of_a_class_follow_one_another(tmp_path):
    content = {"worker": ["w0", "w1"], "queen": ["q0"], "drone": {"asked": ["d0"]}}
    answers = imported(tmp_path, [ANT], content, {"n1": ["queen", "drone", "worker"]})
    assert texts(answers) == [("n1", "q0"), ("n1", "d0"), ("n1", "w0"), ("n1", "w1")]
    assert [s.sample_index for s in answers.sentences] == [0, 0, 1, 2]


def test_an_empty_list_and_a_null_decision_leave_a_class_without_sentences(tmp_path):
    answers = imported(tmp_path, [ANT, ELEPHANT], {"ant": []}, {"n2": None})
    assert answers.sentences == []
    assert answers.provenance["empty"] == ["n1"]
    assert answers.provenance["mapping"]["alias"] == {"n2": None}


def test_descriptors_are_put_into_the_template(tmp_path):
    odd = ClassEntry("n1", "{text} ant")
    content = {"{text} ant": ["six legs {class}", " "]}
    answers = imported(tmp_path, [odd], content, template="A {class}, which has {text}.")
    assert texts(answers) == [("n1", "A {text} ant, which has six legs {class}."), ("n1", " ")]
    assert answers.provenance["descriptor_template"] == "A {class}, which has {text}."


@pytest.mark.parametrize("template", ["A {class}", "{text}", "", "A {class}, {text}, {colour}"])
def test_a_template_without_both_slots_or_with_others_is_refused(tmp_path, template):
    message = refused(tmp_path, [ANT], {"ant": ["x"]}, template=template)
    assert message.startswith("params.yaml: describe.options.published: key 'descriptor_template'")
    assert "needs the slots {class} and {text} and no other" in message


def test_our_own_artifact_comes_back_as_it_was(tmp_path):
    rows = [
        Sentence("n1", "small", "vllm", "visual", "looks", 3),
        Sentence("n1", "tiny", "vllm", "visual", "looks", 7),
        Sentence("n1", "six legs", "openai", "cupl", "looks", 3),
        Sentence("n2", "grey", "bundled, planted"),
    ]
    columns = to_columns(rows, [ANT, ELEPHANT], lambda texts: [5] * len(texts))
    write_table(tmp_path / "own.parquet", columns, SCHEMA)
    (tmp_path / "none.json").write_text("{}")
    task = Task([ANT, ELEPHANT], "none", NO_QUESTIONS, {}, 0)
    options = {"aliases": "none.json", "descriptor_template": None}
    answers = describe(task, Params(file="own.parquet", **options))
    assert answers.sentences == rows
    again = to_columns(answers.sentences, [ANT, ELEPHANT], lambda texts: [5] * len(texts))
    write_table(tmp_path / "again.parquet", again, SCHEMA)
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "own.parquet").read_bytes()
    # merged with pandas: an index, other types of strings and integers
    halves = [pd.read_parquet(tmp_path / "own.parquet").iloc[part] for part in ([0, 1], [2, 3])]
    merged = pd.concat(halves).astype({"sample_index": "int64", "source": "category"})
    assert imported(tmp_path, [ANT, ELEPHANT], merged).sentences == rows


def test_a_plain_table_is_read_by_id_or_name(tmp_path):
    for key, value in (("class_id", "n1"), ("name", "Ant")):
        for text in ("text", "sentence"):
            table = pd.DataFrame({key: [value, value], text: ["a", "b"], "other": [1, 2]})
            answers = imported(tmp_path, [ANT], table)
            assert answers.sentences == [
                Sentence("n1", "a", "published"),
                Sentence("n1", "b", "published", sample_index=1),
            ]


def test_how_an_artifact_was_made_stays_known(tmp_path):
    rows = to_columns([Sentence("n1", "a b c", "vllm")], [ANT], lambda texts: [5])
    write_table(tmp_path / "own.parquet", rows, SCHEMA)
    (tmp_path / "none.json").write_text("{}")
    params = Params(file="own.parquet", aliases="none.json", descriptor_template=None)
    task = Task([ANT], "none", NO_QUESTIONS, {}, 0)
    assert "origin" not in describe(task, params).provenance
    (tmp_path / "provenance.json").write_text('{"model": "maker/model"}')
    assert describe(task, params).provenance["origin"] == {"model": "maker/model"}


def test_half_characters_are_refused_wherever_they_stand(tmp_path):
    message = refused(tmp_path, [ANT], '{"ant": {"q\\ud83d": ["a b c"]}}')
    assert "key 'q\\ud83d' holds half a character" in message
    rows = to_columns([Sentence("n1", "a b c", "vllm")], [ANT], lambda texts: [5])
    write_table(tmp_path / "own.parquet", rows, SCHEMA)
    (tmp_path / "none.json").write_text("{}")
    (tmp_path / "provenance.json").write_text('{"model": "\\ud83d"}')
    params = Params(file="own.parquet", aliases="none.json", descriptor_template=None)
    with pytest.raises(UserError, match=r"provenance\.json: holds half a character"):
        describe(Task([ANT], "none", NO_QUESTIONS, {}, 0), params)


@pytest.mark.parametrize("source", ["template", "vllm, repeated"])
def test_what_the_filter_filled_in_is_no_description(tmp_path, source):
    table = pd.DataFrame({"name": ["ant"], "text": ["a"], "source": [source]})
    answers = imported(tmp_path, [ANT], table)
    with pytest.raises(UserError, match=f"source '{source}' is kept for what the filter fills"):
        to_columns(answers.sentences, [ANT], lambda texts: [5])


@pytest.mark.parametrize("name", ["/etc/passwd", "../d.json", "a/../../d.json"])
@pytest.mark.parametrize("key", ["file", "aliases"])
def test_a_file_that_dvc_does_not_watch_is_refused(key, name):
    values = {"file": "d.json", "aliases": "a.json", "descriptor_template": None, key: name}
    with pytest.raises(UserError, match=f"key '{key}'.*must be below"):
        validate(values, Params, "params.yaml: describe.options.published")


# --- errors -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"other": ["a"]}, r"expected columns class_id \(or name\) and sentence \(or text\)"),
        ({"name": ["ant"]}, "expected columns class_id"),
        ({"name": ["ant", "ant"], "text": ["a", None]}, "column 'text' has 1 nulls"),
        ({"name": ["ant"], "text": [1]}, "column 'text' holds int64, expected string"),
        ({"name": [1], "text": ["a"]}, "column 'name' holds int64"),
        ({"name": ["a"], "text": ["a"], "sample_index": ["0"]}, "'sample_index' holds .*expected"),
        ({"name": ["a"], "text": ["a"], "sample_index": [2**40]}, "not in range"),
        ({"name": ["a"] * 2, "text": ["b", "c"], "sample_index": [0, 0]}, "2 rows of 'a' are samp"),
        ({"name": np.array([], str), "text": np.array([], str)}, "holds no descriptions"),
    ],
)
def test_a_table_of_another_form_is_refused(tmp_path, table, reason):
    message = refused(tmp_path, [ANT], pd.DataFrame(table))
    assert str(tmp_path / "d.parquet") in message
    assert re.search(reason, message)


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "d.parquet").write_text("no parquet")
    (tmp_path / "a.json").write_text("{}")
    task = Task([ANT], "none", NO_QUESTIONS, {}, 0)
    options = {"aliases": "a.json", "descriptor_template": None}
    with pytest.raises(UserError, match=r"d\.parquet: cannot be read as Parquet"):
        describe(task, Params(file="d.parquet", **options))
    for name in ("none.parquet", "none.json"):
        with pytest.raises(UserError, match=rf"{name}: not found"):
            describe(task, Params(file=name, **options))
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        describe(task, Params(file=".", **options))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "not valid JSON: "),
        ("[" * 200_000, "not valid JSON: "),
        ('["a"]', "expected a JSON object, found a list"),
        ("3", "expected a JSON object, found a number"),
        ("{}", "holds no descriptions"),
        ('{"ant": null}', "key 'ant': expected a list of sentences, found null"),
        ('{"ant": [1]}', "key 'ant': expected sentences in its list, found a number"),
        ('{"ant": ["a", ["b"]]}', "key 'ant': expected sentences in its list, found a list"),
        ('{"ant": {"q": {"r": []}}}', "key 'ant', 'q': expected a list of .*, found an object"),
        ('{"ant": {"q": [true]}}', "key 'ant', 'q': expected sentences .*, found true or false"),
        ('{"ant": ["a"], "ant": ["b"]}', "key 'ant' stands there twice; keep one"),
        ('{"ant": {"q": ["a"], "q": ["b"]}}', "key 'q' stands there twice; keep one"),
        ('{"ant": ["cut \\ud83d"]}', r"key 'ant': a sentence holds half a character: .*\\ud83d"),
    ],
)
def test_a_json_file_of_another_form_is_refused(tmp_path, content, reason):
    message = refused(tmp_path, [ANT], content)
    assert message.startswith(f"{tmp_path / 'd.json'}: ")
    assert re.search(reason, message)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "not valid JSON: "),
        ("[]", "expected a JSON object, found a list"),
        ('{"n1": "ant", "n1": null}', "key 'n1' stands there twice"),
        ('{"n1": 3}', "'n1': expected a key, a list of different keys, or null for none, found 3"),
        ('{"n1": []}', "'n1': expected a key"),
        ('{"n1": ["ant", "ant"]}', "'n1': expected a key"),
        ('{"other": ["ant", 1]}', "'other': expected a key"),
        ('{"n1": "ants"}', "'n1': 'ants' is no key of .*d.json; nearest: 'ant'$"),
        ('{"n1": ["ant", "be"]}', "'n1': 'be' is no key of .*d.json; nearest: 'bee'$"),
        ('{"n1": "?? ant (fits no free key): bee"}', "'n1': still to be decided: write a key of"),
    ],
)
def test_bad_decisions_are_refused(tmp_path, content, reason):
    message = refused(tmp_path, [ANT], {"ant": ["a"], "bee": ["b"]}, content)
    assert message.startswith(f"{tmp_path / 'aliases.json'}: ")
    assert re.search(reason, message)


def test_decisions_on_classes_of_other_data_sets_are_ignored(tmp_path):
    answers = imported(tmp_path, [ANT], {"ant": ["a"]}, {"n99": "no key of this file"})
    assert texts(answers) == [("n1", "a")]


def test_undecided_classes_are_counted_named_and_printed_as_lines_to_complete(tmp_path, capsys):
    classes = [BIRD, ANT, MACHINE, *(ClassEntry(f"m{i}", f"thing {i}") for i in range(11))]
    content = {"crane": ["tall"], "Ant": ["small"], "thing": ["x"]}
    message = refused(tmp_path, classes, content)
    assert "13 of 14 classes are undecided: n3 (crane: fits the same key as n4; " in message
    assert "m7 (thing 7: fits no free key; nearest 'thing') and 3 more; write " in message
    assert "m8" not in message
    assert f"into {tmp_path / 'aliases.json'}" in message
    head, lines = capsys.readouterr().err.split("\n", 1)
    assert "13 of 14 classes are undecided" in head
    printed = json.loads(lines)
    assert list(printed) == ["n3", "n4", *(f"m{i}" for i in range(11))]
    assert printed["m8"] == "?? thing 8 (fits no free key): thing"
    # as printed, they are refused; completed, they are what was missing
    assert "'n3': still to be decided" in refused(tmp_path, classes, content, printed)
    decided = dict.fromkeys(printed) | {"n3": "crane"}
    assert texts(imported(tmp_path, classes, content, decided)) == [("n3", "tall"), ("n1", "small")]


# --- provenance and the tables in data/inputs/published/aliases ---------------------------


def test_provenance_tells_what_matched_how_and_names_no_folder(tmp_path):
    classes = [
        ANT,
        ELEPHANT,
        BIRD,
        MACHINE,
        ClassEntry("n5", "tench, Tinca tinca"),
        ClassEntry("n6", "ox"),
    ]
    content = {
        "n1": [" "],
        "african-elephant": ["b"],
        "tench": ["c"],
        "ox": [],
        "x": ["d"],
        "y": ["e"],
        "z": [],
    }
    first = imported(tmp_path, classes, content, {"n3": ["x", "y"], "n4": None}).provenance
    assert first == {
        "file": "d.json",
        "sha256": hashlib.sha256((tmp_path / "d.json").read_bytes()).hexdigest(),
        "aliases": "aliases.json",
        "aliases_sha256": hashlib.sha256((tmp_path / "aliases.json").read_bytes()).hexdigest(),
        "descriptor_template": None,
        "matched": {"alias": 1, "id": 1, "name": 1, "normalised": 1, "synonym": 1, "none": 1},
        "mapping": {
            "alias": {"n3": ["x", "y"], "n4": None},
            "normalised": {"n2": "african-elephant"},
            "synonym": {"n5": "tench"},
        },
        "empty": ["n1", "n6"],
        "unused_keys": 1,
    }
    again = imported(tmp_path, classes, content, {"n3": ["x", "y"], "n4": None}).provenance
    assert json.dumps(again) == json.dumps(first)


def test_the_alias_tables_are_sorted_decisions_on_wnids():
    tables = sorted((ROOT / "data/inputs/published/aliases").glob("*.json"))
    assert len(tables) == 5
    for path in tables:
        pairs = json.loads(path.read_text(), object_pairs_hook=list)
        ids = [class_id for class_id, _ in pairs]
        assert ids == sorted(set(ids))
        assert bool(ids) == (path.name != "none.json")
        assert all(len(i) == 9 and i[0] == "n" and i[1:].isdigit() for i in ids)
        assert all(key is None or key == key.strip() != "" for _, key in pairs)


def test_the_alias_tables_tell_cranes_and_cardigans_apart():
    saft = json.loads((ROOT / "data/inputs/published/aliases/imagenet-saft.json").read_text())
    cupl = json.loads((ROOT / "data/inputs/published/aliases/imagenet-cupl.json").read_text())
    assert (saft["n02012849"], saft["n03126707"]) == ("crane", None)
    assert (saft["n02113186"], saft["n02963159"]) == ("Cardigan", "cardigan")
    assert (saft["n03710637"], saft["n03710721"]) == ("maillot", None)
    assert (cupl["n02012849"], cupl["n03126707"]) == ("crane bird", "construction crane")
