"""Figures of a description artifact, and the page made of them."""

import pytest

from pipeline.common.params import read_section
from pipeline.filtering.cleaning import CleaningParams
from pipeline.images.classes import ClassEntry
from saft.descriptions import datasheet
from saft.descriptions import text as datasheet_text
from tests.support.artifact_rows import BIRD, MACHINE, class_rows, figures
from tests.support.project import DEMO

CLASSES = [ClassEntry("n1", "crane"), ClassEntry("n2", "crane"), ClassEntry("n3", "ant")]


def never(texts: object) -> list[int]:
    raise AssertionError(f"the tokenizer is not needed for {texts}")


def page(sheet) -> str:
    """The page with all white space made one blank, so that wrapping does not matter."""
    lines = datasheet_text.lines(sheet)
    assert max(map(len, lines)) <= 80
    return " ".join(" ".join(lines).split())


def test_the_defaults_are_those_of_the_demo():
    assert read_section("filter.cleaning", CleaningParams, DEMO) == datasheet.DEFAULT_CLEANING


def test_a_class_is_its_id_so_two_of_one_name_are_two():
    sheet = figures(class_rows(n1=[BIRD], n9=[MACHINE]), CLASSES)
    assert sheet["coverage"] == {
        "described": 1,
        "of": 3,
        "missing": ["n2", "n3"],
        "unknown": ["n9"],
    }
    text = page(sheet)
    assert "described 1 of 3 classes of t without a sentence n2, n3 not in the table n9" in (text)
    assert [(line["class_id"], line["sentences"]) for line in sheet["classes"]] == [
        ("n1", 1),
        ("n2", 0),
        ("n3", 0),
        ("n9", 1),
    ]


def test_without_a_class_table_the_page_says_so():
    sheet = figures(class_rows(n1=[BIRD]))
    assert sheet["coverage"] == {"described": 1, "of": None, "missing": None, "unknown": None}
    assert "described 1; no class table to compare with" in page(sheet)


def test_long_lists_end_after_ten_with_a_count():
    classes = [ClassEntry(f"c{number}", "x") for number in range(14)]
    text = page(figures(class_rows(c0=[BIRD]), classes))
    assert "without a sentence c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, ... (13 in all)" in text


def test_spread_of_known_numbers():
    assert datasheet.spread([3]) == {"min": 3, "median": 3.0, "p95": 3, "max": 3}
    assert datasheet.spread([4, 1, 2, 3]) == {"min": 1, "median": 2.5, "p95": 4, "max": 4}
    assert datasheet.spread(range(1, 101)) == {"min": 1, "median": 50.5, "p95": 95, "max": 100}


def test_sentences_are_counted_per_class_prompt_and_source():
    rows = class_rows(n1=[BIRD, MACHINE], n2=[BIRD])
    rows["n2"][0] |= {"prompt_set": "", "prompt_id": "", "source": "bundled, planted"}
    sheet = figures(rows)
    assert sheet["sentences"]["total"] == 3
    assert sheet["sentences"]["fewest"] == ["n2"]
    assert sheet["prompts"] == [
        {"prompt_set": "visual", "prompt_id": "parts", "sentences": 2},
        {"prompt_set": "", "prompt_id": "", "sentences": 1},
    ]
    assert sheet["sources"][1] == {"source": "bundled, planted", "sentences": 1}
    text = page(sheet)
    assert "per class 1 to 2, median 1.5 fewest (1) n2" in text
    assert "by prompt 2 visual / parts 1 (nobody was asked) by source 2 vllm" in text


def test_more_prompts_than_fit_are_counted():
    rows = class_rows(n1=[f"{BIRD} {number}" for number in range(25)])
    for number, one in enumerate(rows["n1"]):
        one["prompt_id"] = f"q{number:02}"
    text = page(figures(rows))
    assert "visual / q19 ... (25 in all) by source" in text
    assert "q20" not in text


def test_lengths_and_what_a_short_context_would_cut():
    rows = class_rows(n1=[BIRD, MACHINE])
    rows["n1"][0]["tokens"] = 78
    sheet = figures(rows, context=32)
    assert sheet["words"] == {"min": 6, "median": 6.5, "p95": 7, "max": 7}
    assert sheet["tokens"] == {
        **{"min": 8, "median": 43.0, "p95": 78, "max": 78},
        **{"over_77": 1, "over_context": 1},
    }
    text = page(sheet)
    assert "tokens 8 43 78 78" in text
    assert "over 77 tokens 1 sentences over 32 tokens 1 sentences; the base model reads 32" in text
    assert "the base model reads" not in page(figures(rows))


def test_repeats_are_exact_near_or_between_classes():
    shout = BIRD.upper()  # a repeat, but for case
    sheet = figures(class_rows(n1=[BIRD, BIRD, shout, BIRD], n2=[BIRD, MACHINE], n3=[MACHINE]))
    counts = sheet["duplicates"]
    assert (counts["exact"], counts["near"]) == (2, 1)
    assert counts["shared"]["sentences"] == 2
    assert counts["shared"]["classes"] == 3
    assert counts["shared"]["examples"][0] == {"sentence": BIRD, "classes": ["n1", "n2"]}
    text = page(sheet)
    assert "between classes 2 stand in several classes, 3 classes in all" in text
    assert f'"{BIRD}" in 2 classes: n1, n2' in text


def test_a_widespread_sentence_names_three_of_its_classes():
    rows = class_rows(**{f"c{number}": [BIRD] for number in range(5)})
    assert "in 5 classes: c0, c1, c2, ..." in page(figures(rows))


def test_what_cleaning_would_drop_has_a_count_and_the_first_example():
    refusal = "I'm sorry, but I cannot see it."
    rows = class_rows(
        n1=["Sure, here you are:", BIRD, BIRD], n2=[refusal, f"No. {refusal}", refusal]
    )
    sheet = figures(rows)["cleaning"]
    assert list(sheet["dropped"]) == ["refusal", "meta", "duplicate"]  # the order of REASONS
    assert sheet["dropped"]["refusal"] == {
        "sentences": 2,
        "example": {"class_id": "n2", "sentence": refusal},
    }
    assert sheet["left"]["total"] == 2
    assert (sheet["min_words"], sheet["near_duplicate"], sheet["context"]) == (3, 0.95, 77)
    text = page(figures(rows))
    assert f'would drop 4 of 6 sentences refusal 2 n2: "{refusal}" meta 1 n1: "Sure, here' in text
    assert "rules min words 3, near duplicate 0.95, too long shorten, context 77 (defaults)" in text


def test_a_sentence_that_would_be_shortened_is_counted_but_left():
    sheet = figures(class_rows(n1=[f"{BIRD} It stands in a river and waits."]), context=12)[
        "cleaning"
    ]
    assert (sheet["shortened"], sheet["dropped"], sheet["left"]["total"]) == (1, {}, 1)


def test_the_tokenizer_is_asked_for_changed_texts_only():
    figures(class_rows(n1=[BIRD], n2=[MACHINE]), count_tokens=never)
    with pytest.raises(AssertionError, match="not needed"):
        figures(class_rows(n1=[f"**{BIRD}**"]), count_tokens=never)


def test_examples_show_no_control_characters():
    rows = class_rows(n1=["Sure, \x1b[31mhere\nare:", BIRD])
    assert '"Sure, [31mhere are:"' in page(figures(rows))


def test_what_the_filter_did_and_whether_it_is_of_this_artifact():
    rows = [
        {"source": "vllm", "kept": True, "reason": None},
        {"source": "vllm, repeated", "kept": True, "reason": None},
        {"source": "template", "kept": True, "reason": None},
        {"source": "vllm", "kept": False, "reason": "rank"},
        {"source": "vllm", "kept": False, "reason": "meta"},
        {"source": "vllm", "kept": False, "reason": "meta"},
    ]
    counts = datasheet.filtered(rows, sentences=4)
    assert counts == {"kept": 3, "filled": 2, "dropped": {"meta": 2, "rank": 1}, "current": True}
    text = page(figures(class_rows(n1=[BIRD])) | {"filter": counts})
    assert "kept 3 2 of them to fill up short classes dropped: meta 2 dropped: rank 1" in text
    assert "another artifact" not in text
    stale = datasheet.filtered(rows, sentences=5)
    assert not stale["current"]
    assert "made from another artifact; `dvc repro stages/dvc.yaml:filter`" in (
        page(figures(class_rows(n1=[BIRD])) | {"filter": stale})
    )


def test_one_line_per_class():
    sheet = figures(class_rows(n1=[BIRD, BIRD, MACHINE]), CLASSES)
    lines = datasheet_text.lines(sheet)
    start = lines.index("Classes")
    assert [line.split() for line in lines[start + 1 :]] == [
        ["sentences", "clean", "tokens", "class", "id", "name"],
        ["3", "2", "8", "to", "9", "n1", "crane"],
        ["0", "0", "-", "n2", "crane"],
        ["0", "0", "-", "n3", "ant"],
    ]
    del sheet["classes"]
    assert "Classes" not in datasheet_text.lines(sheet)


def test_provenance_becomes_labels_and_texts():
    facts = datasheet_text.facts(
        {
            "zoo": ["a"] * 11,
            "sampling": {"top_p": 0.9, "model": "my_model", "stop": None},
            "commit": None,
            "aliases": [],
            "engine": {},
            "model": "my_model",
            "prompts_sha256": "0f" * 32,
            "backend": "vllm",
        }
    )
    assert facts == [
        ("backend", "vllm"),
        ("model", "my_model"),
        ("prompts sha256", "0f0f0f0f0f0f..."),
        ("sampling", "top p 0.9, model my_model"),
        ("aliases", "none"),
        ("zoo", ", ".join("a" * 10) + ", ... (11 in all)"),
    ]


def test_provenance_of_a_merge_is_a_block_per_input():
    line = {"sha256": "x", "classes": 2, "provenance": {"backend": "vllm"}}
    nested = {"merged": [line, {"classes": 1, "provenance": None}], "prefer": "first"}
    assert datasheet_text.facts(nested) == [
        ("prefer", "first"),
        ("merged 1", ""),
        ("  classes", "2"),
        ("  sha256", "x"),
        ("  backend", "vllm"),
        ("merged 2", ""),
        ("  classes", "1"),
    ]


def test_a_page_without_provenance_or_with_an_empty_one():
    sheet = figures(class_rows(n1=[BIRD]))
    assert "Origin unknown there is no provenance.json beside the Parquet file" in page(sheet)
    assert "Origin unknown provenance.json says nothing" in page(sheet | {"provenance": {}})
