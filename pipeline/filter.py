"""Keep, per class, the K sentences closest to the class name in CLIP's own text space.

Source: SAFT release, helper.py `select_top_n_descriptions`: cosine of the text encoder on
the sentence and on the bare class name (no template, no image), top K, no threshold.
Hallucinations fall out because they are far from the class.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipeline.errors import UserError
from pipeline.params import Section

SCHEMA = pa.schema(
    [
        ("class_id", pa.string()),
        ("name", pa.string()),
        ("text", pa.string()),
        ("source", pa.string()),
        ("score", pa.float32()),
        ("rank", pa.int32()),
        ("kept", pa.bool_()),
    ]
)


class FilterParams(Section):
    """Section `filter` of params.yaml, where every key is explained."""

    top_k: int = Field(ge=1)
    short_class: Literal["error", "repeat"]


def check_counts(rows: Sequence[dict[str, Any]], params: FilterParams) -> list[str]:
    """Ids of classes with fewer than K sentences, which only `short_class: repeat` allows.

    Raises:
        UserError: there are such classes and the policy is `error`.
    """
    counts = Counter(row["class_id"] for row in rows)
    short = [class_id for class_id, count in counts.items() if count < params.top_k]
    if short and params.short_class == "error":
        listed = ", ".join(f"{c} ({counts[c]})" for c in short[:10]) + ", ..." * (len(short) > 10)
        raise UserError(
            f"filter: {len(short)} of {len(counts)} classes have fewer than "
            f"filter.top_k = {params.top_k} sentences: {listed}; "
            "describe them better, lower filter.top_k, or set filter.short_class: repeat"
        )
    return short


def ranking(scores: Sequence[float]) -> list[int]:
    """Positions by falling score; equal scores keep their order."""
    return np.argsort(-np.asarray(scores, dtype=np.float32), kind="stable").tolist()


def rank_sentences(
    rows: Sequence[dict[str, Any]], scores: Sequence[float], top_k: int
) -> dict[str, list[Any]]:
    """Columns of SCHEMA: classes in their first order, sentences by rank, the top K kept.

    Args:
        rows: class_id, name, text, source of each sentence.
        scores: cosine of each sentence with its class name, in [-1, 1].

    A class with fewer than K sentences gets its own again, best first, up to K; such rows
    say ", repeated" in `source`.
    """
    grouped: dict[str, list[int]] = {}
    for position, row in enumerate(rows):
        grouped.setdefault(row["class_id"], []).append(position)
    table: list[dict[str, Any]] = []
    for positions in grouped.values():
        order = [positions[i] for i in ranking([scores[p] for p in positions])]
        for rank in range(max(top_k, len(order))):
            position = order[rank % len(order)]
            entry = {**rows[position], "score": scores[position], "rank": rank}
            entry["kept"] = rank < top_k
            if rank >= len(order):
                entry["source"] += ", repeated"
            table.append(entry)
    return {name: [entry[name] for entry in table] for name in SCHEMA.names}
