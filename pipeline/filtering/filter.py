"""Clean the sentences, score them in CLIP's own space, keep the K best of each class.

Source of the default: SAFT release, helper.py `select_top_n_descriptions`: cosine of the
text encoder on the sentence and on the bare class name (no template, no image), top K, no
threshold. Hallucinations fall out because they are far from the class.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from pipeline.common.bounds import Count
from pipeline.common.params import Section, Template
from pipeline.descriptions.sources import TEMPLATE
from pipeline.filtering import ranking
from pipeline.filtering.cleaning import CleaningParams, CountTokens, clean
from pipeline.filtering.ranking import Encode, Rule
from pipeline.filtering.short_classes import check_short, fill_up
from pipeline.filtering.similarity import order_by_relevance, score
from pipeline.filtering.table import SCHEMA
from pipeline.images.classes import ClassEntry

Row = dict[str, Any]


class FilterParams(Section):
    """Section `filter` of params.yaml, where every key is explained."""

    top_k: Count
    reference: Literal["class_name", "template", "image"]
    template: Template
    images_per_class: Count | None
    rank_by: Rule
    diversity: float = Field(ge=0, lt=1)
    min_similarity: float | None = Field(ge=-1, le=1)
    min_margin: float | None = Field(ge=-2, le=2)
    short_class: Literal["error", "repeat", "template"]
    cleaning: CleaningParams


def reference_names(classes: Sequence[ClassEntry], params: FilterParams) -> list[str]:
    """What each class is compared with: its bare name, or the template filled with it; with
    `image`, where classes of the same name differ, its id."""
    if params.reference == "image":
        return [class_entry.class_id for class_entry in classes]
    pattern = params.template if params.reference == "template" else "{}"
    return [pattern.replace("{}", class_entry.name) for class_entry in classes]


def clean_rows(
    rows_of: Mapping[str, Sequence[Row]],
    classes: Sequence[ClassEntry],
    params: FilterParams,
    context: int,
    count_tokens: CountTokens,
) -> list[Row]:
    """Rows of SCHEMA for every sentence, class by class, not yet scored; to those of a
    class its filled template is added where the policy may need it.

    Args:
        rows_of: class id -> rows of the artifact (pipeline.descriptions.artifact.SCHEMA).
    """
    rows: list[Row] = []
    blank = dict.fromkeys(SCHEMA.names) | {"shortened": False, "kept": False}
    for class_entry in classes:
        class_rows = rows_of.get(class_entry.class_id, [])
        cleaned = clean(
            [row["sentence"] for row in class_rows],
            params.cleaning,
            context,
            count_tokens,
            class_entry.name,
        )
        for row, result in zip(class_rows, cleaned, strict=True):
            values = {"sentence": result.text, "tokens": result.tokens, "reason": result.reason}
            rows.append(blank | row | values | {"shortened": result.shortened})
        if params.short_class != "error":
            rows.append(blank | _template_row(class_entry, params, count_tokens))
    return rows


def score_rows(
    rows: Sequence[Row],
    classes: Sequence[ClassEntry],
    references: np.ndarray,
    names: Sequence[str],
    encode: Encode,
    rule: Rule,
) -> np.ndarray:
    """Set score (by `rule`), margin and nearest_class of the clean rows, in place; their features
    float32 (len(rows), D), zero for the others.

    A template is no sentence of its class: its score is the cosine, whatever the rule.
    """
    labels = {class_entry.class_id: label for label, class_entry in enumerate(classes)}
    clean_indices = [index for index, row in enumerate(rows) if row["reason"] is None]
    features = np.zeros((len(rows), references.shape[1]), dtype=np.float32)
    if not clean_indices:
        return features
    features[clean_indices] = encode([rows[index]["sentence"] for index in clean_indices])
    clean_labels = np.array([labels[rows[index]["class_id"]] for index in clean_indices])
    scores = score(features[clean_indices], clean_labels, references, names)
    for index, cosine, margin, nearest in zip(clean_indices, *scores, strict=True):
        rows[index]["score"] = float(cosine)
        if nearest >= 0:
            rows[index]["margin"] = float(margin)
            rows[index]["nearest_class"] = classes[nearest].class_id
    if rule != "similarity":
        written = np.array([rows[index]["source"] != TEMPLATE for index in clean_indices])
        name_features = encode([class_entry.name for class_entry in classes])
        near = ranking.confusable(name_features, names, ranking.NEIGHBOURS)
        numbers, written_labels = np.array(clean_indices)[written], clean_labels[written]
        texts = [rows[index]["sentence"] for index in numbers]
        sentences = ranking.Sentences(texts, written_labels, features[numbers], references, near)
        for index, value in zip(numbers, ranking.values(rule, sentences, encode), strict=True):
            rows[index]["score"] = float(value)
    return features


def keep_top_k(
    rows: Sequence[Row],
    features: np.ndarray,
    classes: Sequence[ClassEntry],
    params: FilterParams,
) -> tuple[list[Row], list[str]]:
    """All rows, class by class and by rank, with exactly K kept ones per class; and the ids of
    the classes that had fewer.

    Raises:
        UserError: there are such classes and `filter.short_class` is `error`.
    """
    indices_of: dict[str, list[int]] = {class_entry.class_id: [] for class_entry in classes}
    for index, row in enumerate(rows):
        indices_of[row["class_id"]].append(index)
    ranked, templates = {}, {}
    for class_id, class_indices in indices_of.items():
        sentence_indices = [index for index in class_indices if rows[index]["source"] != TEMPLATE]
        ranked[class_id] = rank_rows(
            [rows[p] for p in sentence_indices], features[sentence_indices], params
        )
        templates[class_id] = next(
            (rows[p] for p in class_indices if rows[p]["source"] == TEMPLATE), None
        )
    short = check_short(ranked, params.top_k, params.short_class)
    filled = [
        row
        for class_id, class_rows in ranked.items()
        for row in fill_up(class_rows, templates[class_id], params.top_k, params.short_class)
    ]
    return filled, short


def rank_rows(rows: Sequence[Row], features: np.ndarray, params: FilterParams) -> list[Row]:
    """The sentences of one class, ranked ones first: `rank`, `kept` and `reason` filled in.

    Args:
        rows: with `reason` None for the clean ones, which have `score` and `margin`.
        features: float32 (N, D), unit norm, of the rows; unused where `reason` is set.
    """
    rows = [{**row, "reason": row["reason"] or _below(row, params)} for row in rows]
    candidates = [index for index, row in enumerate(rows) if row["reason"] is None]
    scores = np.array([rows[index]["score"] for index in candidates], dtype=np.float32)
    order = order_by_relevance(scores, features[candidates], params.diversity)
    ranked = []
    for rank, index in enumerate(order):
        kept = rank < params.top_k
        reason = None if kept else "rank"
        ranked.append({**rows[candidates[index]], "rank": rank, "kept": kept, "reason": reason})
    dropped = [{**row, "rank": None, "kept": False} for row in rows if row["reason"]]
    return ranked + dropped


def _template_row(class_entry: ClassEntry, params: FilterParams, count_tokens: CountTokens) -> Row:
    text = params.template.replace("{}", class_entry.name)
    names = {"class_id": class_entry.class_id, "class_name": class_entry.name, "sentence": text}
    origin = {"prompt_set": "", "prompt_id": "", "sample_index": 0, "source": TEMPLATE}
    return names | origin | {"tokens": count_tokens([text])[0]}


def _below(row: Row, params: FilterParams) -> str | None:
    if params.min_similarity is not None and row["score"] < params.min_similarity:
        return "similarity"
    margin = row["margin"]  # None: there is no other class
    if params.min_margin is not None and margin is not None and margin < params.min_margin:
        return "margin"
    return None
