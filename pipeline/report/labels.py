"""How much of what the filter kept is true, where sentences of the run have a label.

data/labels/sentences.tsv holds sentences that were read and judged one by one, by the rule in
data/labels/README.md. Most runs have other sentences, and then there is nothing to tell.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.common.errors import UserError, first_line
from pipeline.common.text_files import read_text
from pipeline.results.statistics import wilson

LABELS = Path("data/labels/sentences.tsv")
TRUE = frozenset({"visual", "not_visual"})
LABEL_NAMES = TRUE | {"false", "off_topic"}
COLUMNS = ("class_id", "sentence", "label")
Row = dict[str, Any]


def read_rows(path: Path = LABELS) -> list[dict[str, str]]:
    """The rows of the table of labels; [] where there is none.

    Raises:
        UserError: it cannot be read, lacks a column, or a label is not one of LABEL_NAMES.
    """
    if not path.exists():
        return []
    reader = csv.DictReader(read_text(path).split("\n"), delimiter="\t")
    try:
        columns, rows = reader.fieldnames or (), list(reader)
    except csv.Error as error:
        raise UserError(f"{path}: cannot be read: {first_line(error)}") from None
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise UserError(f"{path}: no column '{missing[0]}' in its first line, parted by tabs")
    for number, row in enumerate(rows, start=2):
        if row.get("label") not in LABEL_NAMES:
            raise UserError(
                f"{path}: line {number}: label '{row.get('label')}' is none of "
                f"{', '.join(sorted(LABEL_NAMES))}"
            )
    return rows


def labels_view(
    rows: Sequence[Row], labelled: Sequence[Mapping[str, str]]
) -> dict[str, Any] | None:
    """Precision and recall of the kept sentences, and what chance would give, each a share with
    its Wilson interval; None where no sentence of the run, or none that is true, has a label.

    Args:
        rows: of the filter's table, without fills; a sentence that cleaning changed has no label.
    """
    label_of = {(row["class_id"], row["sentence"]): row["label"] for row in labelled}
    judged = [
        (label_of[key] in TRUE, row["kept"])
        for row in rows
        if (key := (row["class_id"], " ".join(row["sentence"].split()))) in label_of
    ]
    kept, true = sum(k for _, k in judged), sum(t for t, _ in judged)
    kept_true = sum(t and k for t, k in judged)
    if not kept or not true:
        return None
    return {
        "file": LABELS,
        "precision": wilson(kept_true, kept),
        "recall": wilson(kept_true, true),
        "chance": wilson(true, len(judged)),
    }
