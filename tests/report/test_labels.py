"""What the report says where sentences of the run were labelled."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.common.errors import UserError
from pipeline.report import inputs as report_inputs
from pipeline.report import page as report
from pipeline.report.labels import LABELS, labels_view, read_rows
from tests.support.report_inputs import make_tree, sentence_row, write_rows

ROWS = [
    sentence_row(sentence="True and kept."),
    sentence_row(sentence="False and kept.", rank=1),
    sentence_row(sentence="True and dropped.", rank=2, kept=False, reason="rank"),
    sentence_row(sentence="Nobody read it.", rank=3, kept=False, reason="rank"),
]


def labelled(class_id: str = "a") -> list[dict[str, str]]:
    labels = {"True and kept.": "visual", "False and kept.": "false"}
    labels |= {"True and dropped.": "not_visual", "Of another run.": "off_topic"}
    return [
        {"class_id": class_id, "label": label, "sentence": text} for text, label in labels.items()
    ]


def test_shares_of_the_labelled_sentences_of_the_run() -> None:
    view: dict[str, Any] = labels_view(ROWS, labelled()) or {}
    assert view["precision"][:3] == (1, 2, 1 / 2)
    assert view["recall"][:3] == (1, 2, 1 / 2)
    assert view["chance"][:3] == (2, 3, 2 / 3)


def test_other_sentences_are_not_told_of() -> None:
    assert labels_view(ROWS, labelled("b")) is None
    assert labels_view(ROWS, []) is None
    assert labels_view(ROWS[1:2], labelled()) is None, "none that is true"


def test_an_unknown_label_is_named(tmp_path: Path) -> None:
    path = tmp_path / "labels.tsv"
    path.write_text("class_id\tlabel\tsentence\na\tvisual\tOne.\na\tgood\tTwo.\n")
    with pytest.raises(UserError, match=r"labels.tsv: line 3: label 'good' is none of false, "):
        read_rows(path)
    assert read_rows(tmp_path / "none.tsv") == []


def test_the_page_tells_it_only_with_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tree(tmp_path)
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path, ROWS)
    LABELS.parent.mkdir(parents=True)
    head = "class_id\tlabel\tsentence\n"
    for class_id, told in (("b", False), ("a", True)):
        lines = [f"{class_id}\t{row['label']}\t{row['sentence']}\n" for row in labelled(class_id)]
        LABELS.write_text(head + "".join(lines), encoding="utf-8")
        page = report.render(report_inputs.read_inputs())
        assert ("1 are true (50.0\u00a0%" in page) == told
        assert ("were read and labelled" in page) == told
