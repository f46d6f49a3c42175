"""Classes for which fewer than K sentences are left: an error, or filled up and marked."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.common.errors import UserError, listed
from pipeline.descriptions.sources import REPEATED

Row = dict[str, Any]


def check_short(rows_of: Mapping[str, Sequence[Row]], top_k: int, policy: str) -> list[str]:
    """Ids of the classes with fewer than K kept sentences.

    Raises:
        UserError: there are such classes and `filter.short_class` is `error`; the message
            says how many sentences each has and why others were dropped.
    """
    counts = {class_id: sum(row["kept"] for row in rows) for class_id, rows in rows_of.items()}
    short = [class_id for class_id, count in counts.items() if count < top_k]
    if short and policy == "error":
        accounts = [_account(c, counts[c], rows_of[c]) for c in short]
        raise UserError(
            f"filter: {len(short)} of {len(counts)} classes have fewer than "
            f"filter.top_k = {top_k} sentences: {listed(accounts, 10)}; "
            f"{_advice(rows_of, short)}lower filter.top_k, or set filter.short_class: "
            "repeat | template"
        )
    return short


def fill_up(rows: Sequence[Row], template: Row | None, top_k: int, policy: str) -> list[Row]:
    """The kept rows and as many more as K asks for, by `filter.short_class`; then the others.

    `repeat` repeats the kept sentences of the class, best first, with ", repeated" at the end of
    `source`; `template` (and `repeat` where nothing was kept) takes the row `template`.
    """
    kept = [row for row in rows if row["kept"]]
    missing = top_k - len(kept)
    extra: list[Row] = []
    for index in range(max(missing, 0)):
        rank = len(kept) + index
        if policy == "repeat" and kept:
            source_row = kept[index % len(kept)]
            extra.append({**source_row, "rank": rank, "source": source_row["source"] + REPEATED})
        elif template is not None:
            extra.append({**template, "rank": rank, "kept": True, "sample_index": index})
    return kept + extra + [row for row in rows if not row["kept"]]


def _advice(rows_of: Mapping[str, Sequence[Row]], short: Sequence[str]) -> str:
    reasons = {row["reason"] for class_id in short for row in rows_of[class_id]}
    keys = [f"filter.min_{name}" for name in ("similarity", "margin") if name in reasons]
    return f"loosen {' and '.join(keys)}, " if keys else "describe them better, "


def _account(class_id: str, count: int, rows: Sequence[Row]) -> str:
    reasons = sorted({row["reason"] for row in rows if row["reason"] not in (None, "rank")})
    return f"{class_id} ({count}{'; dropped: ' + ', '.join(reasons) if reasons else ''})"
