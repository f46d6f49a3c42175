"""What a filter run did, for people."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.common.errors import listed
from pipeline.descriptions.sources import is_fill


def summary(columns: Mapping[str, Sequence[Any]], short: Sequence[str], classes: int) -> str:
    """How many sentences were kept, why the others were dropped, and which classes were filled.

    Args:
        columns: of `filtering.table.SCHEMA`; short: classes with too few sentences of their own.
    """
    reasons = Counter(reason for reason in columns["reason"] if reason)
    dropped = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    rows = list(zip(columns["kept"], columns["source"], columns["shortened"], strict=True))
    filled = sum(is_fill(source) for _, source, _ in rows)
    kept = sum(is_kept for is_kept, _, _ in rows) - filled
    shortened = sum(is_kept and is_shortened for is_kept, _, is_shortened in rows)
    lines = [
        f"kept {kept} of {len(rows) - filled} sentences for {classes} classes",
        f"dropped: {dropped or 'none'}; shortened among the kept: {shortened}",
    ]
    if short:
        names = listed(short, 10)
        lines.append(
            f"{len(short)} classes had too few of their own, {filled} slots filled: {names}"
        )
    return "\n".join(lines)
