"""Random words behind the class name: what decides them, their lengths, what cleaning does."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.backends import waffle
from pipeline.backends.waffle import CONSONANTS, WORDS, Params, describe
from pipeline.common.errors import UserError
from pipeline.common.params import read_params, read_section, validate
from pipeline.common.tables import read_json
from pipeline.descriptions.interface import Answers, Sentence, Task
from pipeline.descriptions.prompts import PromptSet
from pipeline.descriptions.tokens import count_tokens
from pipeline.filtering.cleaning import CleaningParams, clean
from pipeline.images.classes import ClassEntry
from pipeline.prepare.outlines import SHAPES
from pipeline.prepare.rendering import COLOURS, letters
from pipeline.zeroshot.text_tables import TextTable
from scripts.waffle_words import abstract_nouns, as_json, sentences_of, that_pass
from tests.support.project import DEMO, ROOT

FOLDER = ROOT / "data/inputs/waffle"
OX, ELEPHANT = ClassEntry("n1", "ox"), ClassEntry("n2", "African elephant")
PIPE = ClassEntry("n3", "prayer rug, prayer mat, used by Muslims of North-West Transcaucasia")
KNOWN = ["idle carcinoma", "jtmnf, tbwvp"]  # for ELEPHANT and seed 0
NO_QUESTIONS = PromptSet(version=1, questions={"a": "What is {}?"}, rules="{}", pictures="{}")
DEMO_CLASSES = [
    *(ClassEntry(f"{c}-{s}", f"{c} {s}") for s in SHAPES for c in COLOURS),
    *(ClassEntry(letter.class_id, letter.name) for letter in letters()),
]
CLEANING = read_section("filter.cleaning", CleaningParams, DEMO)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder whose files `waffle` reads, with the words of the repository."""
    shutil.copy(FOLDER / WORDS, tmp_path)
    monkeypatch.setattr(waffle, "FOLDER", tmp_path)
    return tmp_path


def drawn(classes: list[ClassEntry], seed: int = 0, **changes: Any) -> Answers:
    values = {"sentences": 5, "lengths": None, "shared": False} | changes
    params = validate(values, Params, "params.yaml: describe.options.waffle")
    return describe(Task(classes, "none", NO_QUESTIONS, {}, seed), params)


def texts(answers: Answers, class_entry: ClassEntry) -> list[str]:
    return [s.text for s in answers.sentences if s.class_id == class_entry.class_id]


def refused(**changes: Any) -> str:
    with pytest.raises(UserError) as caught:
        drawn([OX, ELEPHANT], **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- who decides the words ------------------------------------------------------------------


def test_a_seed_decides_every_sentence():
    assert drawn([OX, ELEPHANT]) == drawn([OX, ELEPHANT])
    first, other = (set(texts(drawn([ELEPHANT], seed=seed), ELEPHANT)) for seed in (0, 1))
    assert first.isdisjoint(other)


def test_known_sentences_stay_what_they_are():
    """Another version of Python, or of this code, must not draw others without anybody noticing."""
    kinds = "waffle, words", "waffle, characters"
    assert drawn([ELEPHANT], sentences=2).sentences == [
        Sentence("n2", f"A photo of a African elephant, which has {filling}.", kind, "", "", index)
        for index, (filling, kind) in enumerate(zip(KNOWN, kinds, strict=True))
    ]


def test_the_sentences_of_a_class_do_not_depend_on_the_others():
    together = drawn([PIPE, OX, ELEPHANT])
    for class_entry in (OX, ELEPHANT, PIPE):
        assert texts(drawn([class_entry]), class_entry) == texts(together, class_entry)


def test_more_sentences_leave_the_first_as_they_are():
    assert texts(drawn([OX], sentences=9), OX)[:5] == texts(drawn([OX]), OX)


def test_classes_have_words_of_their_own_unless_they_share_them():
    bear = ClassEntry("n9", "American badger")  # as many words as ELEPHANT, as long
    separate, shared = drawn([ELEPHANT, bear]), drawn([ELEPHANT, bear], shared=True)
    fillings = [
        [text.replace(c.name, "") for text in texts(answers, c)]
        for answers in (separate, shared)
        for c in (ELEPHANT, bear)
    ]
    assert set(fillings[0]).isdisjoint(fillings[1])
    assert fillings[2] == fillings[3]


# --- form and lengths -----------------------------------------------------------------------


def test_words_and_characters_take_turns_as_long_as_the_name(folder):
    words = set((folder / WORDS).read_text().splitlines())
    answers = drawn([ELEPHANT, OX], sentences=6)
    pattern = r"A photo of a {}, which (?:has|is)? ?(.+)\."
    for class_entry in (ELEPHANT, OX):
        count = len(class_entry.name.split())
        matches = [
            re.fullmatch(pattern.format(class_entry.name), t) for t in texts(answers, class_entry)
        ]
        fillings = [match[1] for match in matches if match]
        assert len(fillings) == 6
        for filling in fillings[::2]:
            assert len(filling.split()) == count
            assert {*filling.split()} <= words
        for filling in fillings[1::2]:
            groups = filling.split(", ")
            # the released code's: 8 letters of "elephant", made 10 for two groups; here at least 4
            assert [len(group) for group in groups] == [5 if class_entry is ELEPHANT else 4] * count
            assert {*"".join(groups)} <= {*CONSONANTS}
    sources = [sentence.source for sentence in answers.sentences]
    assert sources == ["waffle, words", "waffle, characters"] * 6


def test_every_sentence_of_the_demo_is_as_long_as_the_one_it_stands_for(monkeypatch):
    """Exactly, in tokens: the five kept descriptions of every class, in their order. But for 21 of
    letters that are shorter than "A photo of a letter a, which has wane.": 13 tokens."""
    monkeypatch.setattr(waffle, "FOLDER", FOLDER)
    options = read_params(DEMO)["describe"]["options"]["waffle"]
    kept = read_json(FOLDER / options["lengths"])
    classes = [entry for entry in DEMO_CLASSES if entry.class_id in kept]
    assert len(classes) == len(kept) == 60, "40 compositions and 20 letters to fine-tune on"
    for seed in range(3):
        answers = drawn(classes, seed, **options)
        for class_entry in classes:
            counts = count_tokens(texts(answers, class_entry))
            kept_lengths = count_tokens(kept[class_entry.class_id])
            least = 13 if class_entry.class_id.startswith("letter-") else 0
            assert counts == [max(count, least) for count in kept_lengths], class_entry
        assert answers.provenance["of_other_length"] == 21


def test_the_demo_s_lengths_are_those_of_descriptions_that_filter_keeps():
    """As many, and but for two of 300 true ones: see README.md on the 180 wrong ones."""
    bundled = read_json(ROOT / "data/inputs/bundled/descriptions.json")
    top_k, wrong = read_params(DEMO)["filter"]["top_k"], []
    for class_id, sentences in read_json(FOLDER / "demo.json").items():
        assert len(set(sentences)) == len(sentences) == top_k
        of_class = bundled[class_id]
        wrong += {*sentences} - {*of_class["sentences"]}
        assert {*sentences} <= {*of_class["sentences"], *of_class["planted"]}
    assert len(wrong) == 180 - 178


def test_a_line_for_each_class_has_its_texts_in_their_order():
    table = TextTable("descriptions", [], ["b", "b", "a"], [0, 1, 0], ["two", 'a "b"', "é"])
    text = as_json(sentences_of(table))
    assert json.loads(text) == {"b": ["two", 'a "b"'], "a": ["é"]}
    assert len(text.splitlines()) == 2 + 2


def test_any_length_is_met_if_the_name_leaves_room(folder):
    """With "ox" a sentence has 12 tokens or more; CLIP reads at most 77."""
    lengths = [11, 13, 14, 15, 16, 17, 30, 77, 90, 200]
    sentences = [" ".join(["a"] * (length - 2)) for length in lengths]
    (folder / "lengths.json").write_text(json.dumps({"n1": sentences}))
    asked = [min(length, 77) for length in lengths]
    for seed in range(50):
        answers = drawn([OX], seed, sentences=10, lengths="lengths.json")
        counts = count_tokens(texts(answers, OX))
        shortest = counts[0]
        assert counts == [max(length, shortest) for length in asked]
        assert answers.provenance["of_other_length"] == 1


def test_a_class_is_found_by_its_id_or_its_name(folder):
    by_id, by_name = (
        ["one two"] * 5,
        ["one two three four five six seven eight nine ten and on"] * 5,
    )
    (folder / "d.json").write_text(json.dumps({"n1": by_id, "African elephant": by_name}))
    answers = drawn([ELEPHANT], lengths="d.json")
    assert count_tokens(texts(answers, ELEPHANT)) == count_tokens(by_name)
    assert answers.provenance["lengths"] == "d.json"
    assert len(answers.provenance["lengths_sha256"]) == 64


# --- what cleaning makes of them ------------------------------------------------------------


@pytest.mark.parametrize("lengths", [None, "lengths.json"])
def test_cleaning_drops_and_changes_none(folder, lengths):
    classes = [*DEMO_CLASSES[:20], OX, ELEPHANT, ClassEntry("n4", "St. Bernard")]
    long = ["a a a a a a a a a a a a a a a a a a a a"] * 10
    (folder / "lengths.json").write_text(json.dumps({c.class_id: long for c in classes}))
    for seed in range(20):
        answers = drawn(classes, seed, sentences=10, lengths=lengths)
        for class_entry in classes:
            raw = texts(answers, class_entry)
            assert len(set(raw)) == 10
            cleaned = clean(raw, CLEANING, 77, count_tokens, class_entry.name)
            assert [(c.text, c.reason) for c in cleaned] == [(text, None) for text in raw]


def test_no_word_makes_cleaning_drop_its_sentence(folder):
    words = drawn_words(folder)
    assert len(words) > 500
    assert set(count_tokens(words)) == {3}, "start, word, end"
    ends = [f"A photo of a cat, which has {word}." for word in words]
    begins = [f"A photo of a cat, which has {word} joy." for word in words]
    for raw in (ends, begins):
        assert {c.reason for c in clean(raw, CLEANING, 77, count_tokens, "cat")} == {None}


def drawn_words(folder: Path) -> list[str]:
    lines = (folder / WORDS).read_text().splitlines()
    return [line for line in lines if not line.startswith("#")]


def test_words_are_nouns_of_abstract_senses_alone_and_none_is_taken_for_code():
    lines = [
        "  1 This software is licensed.",
        "00000001 09 n 02 idea 0 thought 1 000 | something in the mind",
        "00000002 28 n 02 time 0 red_letter_day 0 000 | it passes",
        "00000003 05 n 01 crab 0 000 | an animal",
        "00000004 26 n 01 crabs 0 000 | an infestation",
        "00000005 26 n 03 bliss 0 Nirvana 0 joy 0 000 | a state",
        "00000006 06 n 01 thought 0 000 | made up: a thing that is seen",
    ]
    assert abstract_nouns(lines) == ["bliss", "idea", "time"]
    assert that_pass(["cost", "costs", "null", "time"]) == ["cost", "time"]


# --- bad options and files ------------------------------------------------------------------


def test_bad_options_are_one_line(folder):
    where = "params.yaml: describe.options.waffle: key "
    line = "must be below data/inputs/waffle, of which DVC keeps track"
    assert refused(lengths="../x.json").startswith(f"{where}'lengths'")
    assert line in refused(lengths="/x.json")
    assert refused(sentences=0).startswith(f"{where}'sentences'")
    assert refused(shared="no").startswith(f"{where}'shared'")
    assert "lengths.json: not found" in refused(lengths="lengths.json")
    (folder / "d.json").write_text('{"n1": ["a b", "c", " ", "d", "e"]}')
    assert refused(lengths="d.json").endswith(
        "d.json: 4 sentences for class 'n1' and describe.options.waffle.sentences is 5; "
        "lower that, add some, or set lengths: null"
    )


def test_more_sentences_than_there_are_words_are_refused(folder):
    (folder / WORDS).write_text("# two\njoy\ntime\n")
    assert refused(sentences=7) == (
        "params.yaml: describe.options.waffle.sentences: no 7 different ones for class 'n1'; "
        "lower it, or set lengths"
    )
    (folder / WORDS).write_text("# none\n")
    assert "holds no word" in refused()
    (folder / WORDS).unlink()
    assert f"{WORDS}: not found; `git checkout " in refused()
