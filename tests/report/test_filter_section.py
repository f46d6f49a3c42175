"""What the report says about the filter, from made-up rows."""

import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.common.errors import UserError
from pipeline.filtering import cleaning
from pipeline.report import inputs as report_inputs
from pipeline.report import page as report
from pipeline.report.filter_section import (
    REASONS,
    class_labels,
    decimal,
    filter_view,
    histogram,
    lowest_margins,
    origin,
    signed,
)
from pipeline.report.training import FilterSettings
from tests.support.report_inputs import PARAMS, sentence_row, write_rows

SETTINGS = FilterSettings.model_validate(
    {
        "top_k": 2,
        "reference": "class_name",
        "template": "a photo of a {}",
        "images_per_class": None,
        "rank_by": "similarity",
        "diversity": 0.0,
        "min_similarity": None,
        "min_margin": 0.05,
        "cleaning": {"min_words": 3, "near_duplicate": 0.95},
    }
)
OUT = {"score": None, "margin": None, "nearest_class": None, "rank": None, "kept": False}


def mixed_rows() -> list[dict[str, Any]]:
    """Circle is complete, square has a repeat, ring nothing of its own."""
    square = {"class_id": "b", "class_name": "square", "nearest_class": "a"}
    ring = {"class_id": "c", "class_name": "ring", "nearest_class": "a"}
    template = {"sentence": "a photo of a ring", "source": "template", "margin": -0.5}
    return [
        sentence_row(shortened=True),
        sentence_row(rank=1, margin=-0.02, sentence="Close to <another>."),
        sentence_row(rank=2, score=0.5, kept=False, reason="rank", sentence="A third."),
        sentence_row(**OUT, reason="duplicate", sentence="A round one!"),
        sentence_row(**square, margin=0.06, sentence="Four corners here."),
        sentence_row(**square, rank=1, source="llm, repeated", sentence="Four corners here."),
        sentence_row(**square, rank=None, margin=0.01, score=-0.1, kept=False, reason="margin"),
        sentence_row(**ring, **template),
        sentence_row(**ring, **template, rank=1),
        sentence_row(**ring | OUT, reason="empty", sentence=""),
        sentence_row(**ring | OUT, reason="fragment", sentence="A ring."),
        sentence_row(**ring | OUT, reason="fragment", sentence="Round."),
    ]


def plain(page: str) -> str:
    """The words of the page, with single spaces and without markup."""
    return " ".join(re.sub(r"<[^>]*>", "", page).split())


def rendered(tree: Path, rows: list[dict[str, Any]] | None = None, **settings: str) -> str:
    """The page of `tree` with other rows or other lines of section `filter`."""
    text = PARAMS
    for key, value in settings.items():
        text, count = re.subn(rf"(?m)^  {key}: .*$", f"  {key}: {value}", text)
        assert count == 1
    (tree / "params.yaml").write_text(text, encoding="utf-8")
    if rows is not None:
        write_rows(tree, rows)
    return report.render(report_inputs.read_inputs())


def test_every_reason_of_the_filter_is_explained() -> None:
    assert set(REASONS) == {*cleaning.REASONS, "similarity", "margin", "rank"}


def test_counts_leave_fills_out() -> None:
    view = filter_view(mixed_rows(), SETTINGS, {})
    assert (view["total"], view["kept"], view["dropped"]) == (9, 3, 6)
    assert (view["slots"], view["shortened"], view["unscored"]) == (6, 1, 4)
    assert view["elsewhere"] == 1
    assert view["reasons"] == [
        ("empty", 1, "nothing but white space, markup or numbering"),
        ("fragment", 2, "fewer than 3 words"),
        ("duplicate", 1, "an earlier sentence of the class but for case and punctuation"),
        ("margin", 1, "its margin is below 0.05"),
        ("rank", 1, "passed every check, but 2 others of its class were preferred"),
    ]
    assert view["unused"] == ["refusal", "meta", "too_long", "near_duplicate", "similarity"]


def test_an_unknown_reason_is_counted_without_explanation() -> None:
    rows = [sentence_row(), sentence_row(**OUT, reason="rhyme")]
    assert filter_view(rows, SETTINGS, {})["reasons"] == [("rhyme", 1, "")]


def test_fills_are_listed_by_class_and_kind() -> None:
    view = filter_view(mixed_rows(), SETTINGS, {})
    assert view["fills"] == [
        {"name": "square", "template": 0, "repeated": 1},
        {"name": "ring", "template": 2, "repeated": 0},
    ]
    verdicts = [row["verdict"] for class_view in view["classes"] for row in class_view["rows"]]
    assert verdicts[3:8] == [
        *("dropped: duplicate", "kept", "filled: repeated", "dropped: margin", "filled: template")
    ]


def test_lowest_margins_take_the_worst_kept_sentence_of_each_class() -> None:
    lowest = filter_view(mixed_rows(), SETTINGS, {})["lowest"]
    assert [(row["name"], row["nearest"], row["margin"]) for row in lowest] == [
        ("circle", "square", -0.02),
        ("square", "circle", 0.06),
    ]
    many = [sentence_row(class_id=f"{i:02d}", margin=1 - i / 100) for i in range(20)]
    few = lowest_margins(many, class_labels(many))
    assert [row["class_id"] for row in few] == [f"{i}" for i in range(19, 11, -1)]


def test_classes_of_one_name_are_told_apart() -> None:
    rows = [sentence_row(class_id=key, class_name="crane") for key in ("n1", "n2")]
    assert class_labels([*rows, sentence_row()]) == {
        "n1": "crane (n1)",
        "n2": "crane (n2)",
        "a": "circle",
    }


def test_origin_tells_what_provenance_holds() -> None:
    assert origin({}) == ""
    assert origin({"backend": "bundled", "file": "d.json"}) == "backend bundled, file d.json"
    provenance = {"backend": "openai", "sampling": {"model": "m"}, "prompts": "visual"}
    assert origin(provenance) == "backend openai, model m, prompt set visual"
    control = {"backend": "waffle", "content": "random words"}
    assert origin(control) == "backend waffle, made of random words"
    generated = {"backend": "vllm", "model": "m", "revision": "main", "commit": "0123456789abcdef"}
    expected = "backend vllm, model m, revision main, commit 0123456789ab, version 2"
    assert origin(generated | {"prompts_version": 2}) == expected


def test_numbers_have_a_minus_sign_and_a_dash_where_there_is_none() -> None:
    assert [decimal(v) for v in (0.8127, -0.02, None)] == ["0.813", "\u22120.020", "–"]
    assert [signed(v) for v in (0.0123, -0.02, None)] == ["+0.012", "\u22120.020", "–"]


def test_page_tells_counts_reasons_fills_and_close_calls(tree: Path) -> None:
    page = rendered(tree, mixed_rows(), min_margin="0.05")
    words = plain(page)
    assert "9 sentences for 3 classes (backend bundled): 3 kept, 6 dropped." in words
    assert "1 of the kept ones was shortened" in words
    assert "<code>fragment</code></th><td" in page
    assert "4 of them fell out in cleaning" in words
    assert "2 of 3 classes had fewer than 2 sentences left." in words
    assert "2 hold the template (“This is a &lt;photo&gt; of a {}”) and 1 holds" in words
    assert "square 1 × repeated" in words
    assert "ring 2 × template" in words
    assert "1 of 3 kept sentences is closer to another class" in words
    assert "A sentence with a margin below 0.05 is dropped." in words
    assert "Close to &lt;another&gt;." in page
    assert "Histogram: cosines" in page
    assert "dropped: duplicate" in page
    assert "(nothing left)" in page
    assert "planted" not in page


def test_histogram_needs_one_score_and_marks_the_threshold() -> None:
    one, other = sentence_row(), sentence_row(kept=False, reason="rank", score=0.1)
    pictures = [histogram(rows, SETTINGS) for rows in ([one], [other], [one, other])]
    assert len(set(pictures)) == 3
    assert histogram([one, other, sentence_row(**OUT)], SETTINGS) == pictures[2]
    lowest = SETTINGS.model_copy(update={"min_similarity": 0.3})
    assert histogram([one, other], lowest) != pictures[2]
    assert histogram([sentence_row(**OUT)], SETTINGS) is None


def test_long_lists_are_folded(tree: Path) -> None:
    rows = []
    for i in range(40):
        identity = {"class_id": f"c{i}", "class_name": f"thing {i}"}
        rows += [sentence_row(**identity), sentence_row(**identity, rank=1, source="llm, repeated")]
    page = rendered(tree, rows)
    assert "<details><summary>Slots filled, by class" in page
    assert page.count('<details class="class">') == 40
    assert page.count('<p class="name">') == 3
    assert "<details open><summary>Slots filled, by class" in rendered(tree, rows[:24])


def test_page_without_fills_margins_or_scores(tree: Path) -> None:
    alone = {"margin": None, "nearest_class": None}
    page = rendered(tree, [sentence_row(**alone), sentence_row(**alone, rank=1)])
    assert "Every class had 2 sentences of its own" in page
    assert "Closest to another class" not in page
    assert '<th scope="row"><code>' not in page, "no reason to list"
    page = rendered(tree, [sentence_row(**OUT, reason="empty", sentence="")])
    assert "1 sentence for 1 class (backend bundled): 0 kept, 1 dropped." in page
    assert "Histogram: cosines" not in page


@pytest.mark.parametrize(
    ("settings", "said", "not_said"),
    [
        ({}, "with the bare class name in CLIP’s text space.", "training images"),
        ({}, "What is left is scored by its cosine", "Ranked are"),
        ({"rank_by": "agreement"}, "but by the rule agreement, whose value", "was shortened"),
        ({"reference": "template"}, "“This is a &lt;photo&gt; of a &lt;class name&gt;”", "bare"),
        ({"reference": "image"}, "up to 20 training images of its class.", "bare class name"),
        ({"reference": "image", "images_per_class": "null"}, "of the training images", "up to"),
        ({}, "Each class keeps the 2 with the highest cosine.", "maximal marginal relevance"),
        ({"diversity": "0.3"}, "gains 0.7 × its cosine and loses 0.3 × its", "keeps the 2"),
        ({"min_similarity": "0.2"}, "with a cosine below 0.2 is dropped", "with a margin below"),
        ({"min_margin": "0.01"}, "with a margin below 0.01 is dropped", "with a cosine below"),
    ],
)
def test_text_follows_the_settings(
    tree: Path, settings: dict[str, str], said: str, not_said: str
) -> None:
    page = rendered(tree, **settings)
    part = page[page.index("What the filter kept") : page.index("Images under attack")]
    assert said in plain(part)
    assert not_said not in plain(part)


def test_missing_setting_is_one_line(tree: Path) -> None:
    text = PARAMS.replace("  diversity: 0.0\n", "")
    (tree / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="params.yaml: filter: missing key 'diversity'"):
        report_inputs.read_inputs()
