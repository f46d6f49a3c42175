"""Ranking, thresholds, diversity, and what becomes of a class with too few sentences."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from pipeline.common.errors import UserError
from pipeline.common.params import validate
from pipeline.filtering.filter import (
    FilterParams,
    clean_rows,
    keep_top_k,
    rank_rows,
    reference_names,
    score_rows,
)
from pipeline.filtering.ranking import RULES
from pipeline.filtering.similarity import order_by_relevance, score
from pipeline.filtering.table import SCHEMA
from pipeline.images.classes import ClassEntry

CLASSES = [ClassEntry("n1", "ant"), ClassEntry("n2", "bee"), ClassEntry("n3", "cat")]
VALUES: dict[str, Any] = {
    "top_k": 2,
    "reference": "class_name",
    "template": "This is a photo of a {}",
    "images_per_class": None,
    "rank_by": "similarity",
    "diversity": 0.0,
    "min_similarity": None,
    "min_margin": None,
    "short_class": "error",
    "cleaning": {
        "min_words": 1,
        "near_duplicate": 1.0,
        "too_long": "shorten",
        "several_sentences": "keep",
        "needs_name": "keep",
    },
}


def params(**changes: object) -> FilterParams:
    return validate(VALUES | changes, FilterParams, "params.yaml: filter")


def words(texts):
    return [len(text.split()) + 2 for text in texts]


def unit(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32) / np.linalg.norm(values)


def encode(texts: list[str]) -> np.ndarray:
    """Direction by the words ant, bee and cat in a text, 1 for each that is there."""
    vectors = [[0.1 + text.count(class_entry.name) for class_entry in CLASSES] for text in texts]
    return np.stack([unit(*row) for row in vectors])


def run(texts: Mapping[str, list[str]], **changes: object):
    """The whole filter on sentences by class id: rows, and the short classes."""
    chosen = params(**changes)
    rows_of = {
        class_id: [
            {"class_id": class_id, "class_name": class_id, "sentence": text, "prompt_set": "s",
             "prompt_id": "p", "sample_index": i, "source": "file", "tokens": 0}
            for i, text in enumerate(class_texts)
        ]
        for class_id, class_texts in texts.items()
    }  # fmt: skip
    rows = clean_rows(rows_of, CLASSES, chosen, 77, words)
    names = reference_names(CLASSES, chosen)
    features = score_rows(rows, CLASSES, encode(names), names, encode, chosen.rank_by)
    return keep_top_k(rows, features, CLASSES, chosen)


FULL = {"n1": ["ant ant bee", "ant", "ant bee"], "n2": ["bee cat", "bee"], "n3": ["cat", "cat ant"]}


def test_the_best_k_of_each_class_are_kept_in_class_order():
    rows, short = run(FULL)
    assert short == []
    assert [row["sentence"] for row in rows] == [
        "ant", "ant ant bee", "ant bee", "bee", "bee cat", "cat", "cat ant",
    ]  # fmt: skip
    assert [row["kept"] for row in rows] == [True, True, False, True, True, True, True]
    assert [row["rank"] for row in rows] == [0, 1, 2, 0, 1, 0, 1]
    assert [row["reason"] for row in rows] == [None, None, "rank"] + [None] * 4
    assert all(set(row) == set(SCHEMA.names) for row in rows)
    similarity = encode(["ant bee"])[0] @ encode(["ant"])[0]
    assert rows[2]["score"] == pytest.approx(similarity)
    assert rows[2]["margin"] == pytest.approx(0, abs=1e-6)
    assert rows[2]["nearest_class"] == "n2"


def test_equal_scores_keep_their_order():
    scores = np.array([0.5, 0.9, 0.5, 0.9, 0.5], dtype=np.float32)
    assert order_by_relevance(scores, np.zeros((5, 2), np.float32), 0) == [1, 3, 0, 2, 4]


def test_dropped_sentences_stay_with_their_reason():
    rows, _ = run({**FULL, "n2": ["bee", "I cannot say", "bee!", "", "bee cat", "- **bee** ant"]})
    row_of = {row["sentence"]: row for row in rows if row["class_id"] == "n2"}
    assert [row["reason"] for row in row_of.values()] == [
        None, None, "rank", "refusal", "duplicate", "empty",
    ]  # fmt: skip
    assert row_of["bee ant"]["rank"] == 2, "cleaned before it was ranked"
    refused = row_of["I cannot say"]
    assert (refused["score"], refused["rank"], refused["kept"]) == (None, None, False)


def test_similarity_and_margin_thresholds_take_sentences_out_of_the_race():
    texts = {
        "n1": ["ant", "ant bee", "bee", "ant ant"],
        "n2": ["bee", "bee bee"],
        "n3": ["cat"] * 2,
    }
    changes = {"short_class": "repeat"}
    rows, _ = run(texts, min_similarity=0.5, **changes)
    reasons = {r["sentence"]: r["reason"] for r in rows if r["class_id"] == "n1"}
    assert reasons == {"ant": None, "ant ant": None, "ant bee": "rank", "bee": "similarity"}
    rows, _ = run(texts, min_margin=0.1, **changes)
    reasons = {r["sentence"]: r["reason"] for r in rows if r["class_id"] == "n1"}
    assert reasons == {"ant": None, "ant ant": None, "ant bee": "margin", "bee": "margin"}


def test_margin_ignores_classes_of_the_same_name():
    names = ["crane", "crane", "ant"]
    references = np.stack([unit(1, 0), unit(1, 0), unit(0, 1)])
    features = np.stack([unit(1, 0), unit(3, 4)])
    similarities, margin, nearest = score(features, np.array([0, 1]), references, names)
    np.testing.assert_allclose(similarities, [1, 0.6], rtol=1e-6)
    np.testing.assert_allclose(margin, [1, -0.2], rtol=1e-5)
    assert nearest.tolist() == [2, 2]
    _, margin, nearest = score(features, np.array([0, 0]), references[:1], names[:1])
    assert np.isnan(margin).all()
    assert nearest.tolist() == [-1, -1]


def test_clip_sees_no_capitals_so_margins_ignore_them():
    references = np.stack([unit(1, 0), unit(1, 0), unit(0, 1)])
    names = ["Cardigan", " cardigan", "ant"]
    _, margin, nearest = score(references[:1], np.array([0]), references, names)
    assert margin.tolist() == [1]
    assert nearest.tolist() == [2]


def test_classes_of_one_name_are_told_apart_by_their_images():
    cranes = [ClassEntry("n3", "crane"), ClassEntry("n4", "crane")]
    assert reference_names(cranes, params(reference="image")) == ["n3", "n4"]
    assert reference_names(cranes, params()) == ["crane", "crane"]


def test_a_single_class_has_no_margin_to_fall_short_of():
    rows = [{"reason": None, "score": 0.5, "margin": None}]
    picked = rank_rows(rows, np.zeros((1, 2), np.float32), params(min_margin=0.1))
    assert [(row["kept"], row["reason"]) for row in picked] == [(True, None)]


def test_a_threshold_is_reached_by_equal_values():
    rows = [{"reason": None, "score": 0.5, "margin": 0.25}] * 2
    features = np.zeros((2, 2), np.float32)
    for changes in ({"min_similarity": 0.5}, {"min_margin": 0.25}):
        assert all(row["kept"] for row in rank_rows(rows, features, params(**changes)))
    for changes in ({"min_similarity": 0.51}, {"min_margin": 0.26}):
        assert not any(row["kept"] for row in rank_rows(rows, features, params(**changes)))


def test_a_threshold_that_leaves_too_few_is_named():
    with pytest.raises(UserError, match=r"loosen filter.min_margin, lower filter.top_k"):
        run(FULL, min_margin=0.5)
    with pytest.raises(UserError, match="describe them better, lower filter.top_k"):
        run(FULL, top_k=3)


def test_diversity_prefers_the_unlike():
    features = np.stack([unit(1, 0, 0), unit(1, 0.01, 0), unit(0.8, 0, 0.6), unit(0, 1, 0)])
    scores = np.array([0.9, 0.89, 0.8, 0.3], dtype=np.float32)
    assert order_by_relevance(scores, features, 0.0) == [0, 1, 2, 3]
    order = order_by_relevance(scores, features, 0.6)
    # after 0: 1 gives .4 * .89 - .6 * 1, 2 gives .4 * .8 - .6 * .8, 3 gives .4 * .3
    assert order == [0, 3, 2, 1]
    rows = [{"reason": None, "score": float(s), "margin": 0.0} for s in scores]
    picked = rank_rows(rows, features, params(diversity=0.6))
    assert [round(row["score"], 2) for row in picked if row["kept"]] == [0.9, 0.3]


def test_a_short_class_is_an_error_that_says_why():
    texts = {**FULL, "n2": ["bee", "I cannot say"], "n3": []}
    with pytest.raises(UserError) as caught:
        run(texts)
    message = str(caught.value)
    assert "2 of 3 classes have fewer than filter.top_k = 2 sentences" in message
    assert "n2 (1; dropped: refusal), n3 (0)" in message
    assert "short_class: repeat | template" in message
    assert "\n" not in message


def test_a_short_class_repeats_its_own_and_says_so():
    rows, short = run({**FULL, "n2": ["bee", "I cannot say"]}, short_class="repeat", top_k=3)
    assert short == ["n2", "n3"]
    class_rows = [row for row in rows if row["class_id"] == "n2"]
    assert [row["sentence"] for row in class_rows] == ["bee"] * 3 + ["I cannot say"]
    assert [row["source"] for row in class_rows] == ["file", *["file, repeated"] * 2, "file"]
    assert [row["rank"] for row in class_rows] == [0, 1, 2, None]
    assert [row["kept"] for row in class_rows] == [True, True, True, False]


def test_a_short_class_is_filled_with_the_template_and_says_so():
    texts = {**FULL, "n2": ["bee"], "n3": []}
    rows, short = run(texts, short_class="template")
    assert short == ["n2", "n3"]
    filled = [row for row in rows if row["source"] == "template"]
    assert [row["sentence"] for row in filled] == [
        "This is a photo of a bee", "This is a photo of a cat", "This is a photo of a cat",
    ]  # fmt: skip
    assert [row["rank"] for row in filled] == [1, 0, 1]
    assert [row["sample_index"] for row in filled] == [0, 0, 1]
    assert all(row["kept"] and row["score"] is not None for row in filled)
    kept = [row["class_id"] for row in rows if row["kept"]]
    assert kept == ["n1", "n1", "n2", "n2", "n3", "n3"]
    # nothing of its own to repeat: the template
    rows, _ = run(texts, short_class="repeat")
    assert {row["source"] for row in rows if row["class_id"] == "n3"} == {"template"}


def test_another_rule_ranks_and_its_value_is_the_score():
    texts = {**FULL, "n1": ["ant", "bee ant", "ant bee cat", "I cannot say"]}
    rows, _ = run(texts, rank_by="agreement", short_class="repeat", top_k=1)
    class_rows = [row for row in rows if row["class_id"] == "n1"]
    # "bee ant" lies between the other two
    assert [row["sentence"] for row in class_rows][0] == "bee ant"
    features = encode(["ant", "bee ant", "ant bee cat"])
    expected = (features[1] @ features[0] + features[1] @ features[2]) / 2
    assert class_rows[0]["score"] == pytest.approx(expected)
    assert class_rows[0]["margin"] == pytest.approx(0, abs=1e-6), "still against the class names"
    assert class_rows[-1]["score"] is None


def test_a_template_is_no_sentence_of_its_class_to_a_rule():
    rows, _ = run({**FULL, "n2": ["bee"]}, rank_by="agreement", short_class="template")
    bees = [row for row in rows if row["class_id"] == "n2"]
    assert bees[0]["score"] == 1, (
        "the only sentence agrees with all others, of which there are none"
    )
    template = encode(["This is a photo of a bee"])[0] @ encode(["bee"])[0]
    assert bees[1]["score"] == pytest.approx(template)


def test_a_rule_has_nothing_to_rank_where_cleaning_left_templates_only():
    for rule in RULES:
        rows, _ = run({"n1": [], "n2": [], "n3": []}, rank_by=rule, short_class="template", top_k=1)
        assert {row["source"] for row in rows} == {"template"}


def test_the_template_can_be_the_reference():
    assert reference_names(CLASSES, params())[0] == "ant"
    assert reference_names(CLASSES, params(reference="template"))[0] == "This is a photo of a ant"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("top_k", 0), ("reference", "name"), ("template", "no slot"), ("diversity", 1.0),
        ("min_similarity", 2.0), ("images_per_class", 0), ("short_class", "drop"),
        ("rank_by", "image"),
    ],
)  # fmt: skip
def test_bad_values_are_named(key, value):
    with pytest.raises(UserError, match=f"params.yaml: filter: key '{key}'"):
        params(**{key: value})
