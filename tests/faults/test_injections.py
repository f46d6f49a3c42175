"""Texts of users and of files in pages, cards, tables and terminals: shown, never obeyed."""

import csv
import html
import io
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.common.errors import printable
from pipeline.descriptions.artifact import SCHEMA as ARTIFACT
from pipeline.report import inputs as report_inputs
from pipeline.report import page as report
from pipeline.report import training as report_training
from saft.export import card
from stages.runner import stage
from tests.support.artifact_rows import row
from tests.support.report_inputs import CLASSES

HOSTILE = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "\"><svg onload=alert(1)>",
    "' onmouseover='alert(1)", "</td></table><h1>owned", "{{ 7 * 191 }}", "{% raw %}", "<!--",
    "]]>", "&lt;b&gt;", "=HYPERLINK(1)", "@SUM(1)", "\u202eevil",
]  # fmt: skip
ESCAPES = "\x1b[2J\x1b]0;owned\x07\x9b31mred\r\x08\x00\u2028\u202e"
TAG = re.compile(r"</?([a-zA-Z][a-zA-Z0-9-]*)([^<>]*)>")


def _replaced(file: Path, column: str, texts: list[str], of: str | None = None) -> None:
    """Put hostile texts into a column of a table, in turn: one a row, or one for each value of
    column `of`."""
    table = pq.read_table(file)
    number = table.schema.get_field_index(column)
    keys = table[of].to_pylist() if of else list(range(len(table)))
    text_of = {key: texts[i % len(texts)] for i, key in enumerate(dict.fromkeys(keys))}
    values = pa.array([text_of[key] for key in keys], pa.string())
    pq.write_table(table.set_column(number, table.schema.field(number), values), file)


def _tags(page: str) -> tuple[set[str], set[str]]:
    """The tags of a page and the names of their attributes."""
    tags, attributes = set(), set()
    for name, rest in TAG.findall(page):
        tags.add(name.lower())
        attributes |= set(re.findall(r"([\w-]+)\s*=\s*\"[^\"]*\"", rest))
    return tags, attributes


def test_nothing_gets_into_the_page_unescaped(tree: Path) -> None:
    before = report.render(report_inputs.read_inputs())
    for name in CLASSES:
        _replaced(Path(f"data/evaluated_classes/{name}.parquet"), "name", HOSTILE)
    _replaced(report_training.SENTENCES, "sentence", HOSTILE)
    _replaced(report_training.SENTENCES, "class_name", HOSTILE, of="class_id")
    params = Path("params.yaml")
    title = "<script>alert(1)</script>{{ 7 * 191 }}"
    params.write_text(params.read_text().replace("Demo <report> & more", title))
    page = report.render(report_inputs.read_inputs())
    assert html.escape(title) in page
    assert page.count("1337") == before.count("1337"), "no template in it is filled"
    tags, attributes = _tags(page)
    assert tags <= _tags(before)[0], "no tag that was not there"
    assert attributes <= _tags(before)[1], "no attribute that was not there"
    assert not any(attribute.startswith("on") for attribute in attributes)
    assert "<script" not in page
    shown = [text for text in HOSTILE if html.escape(text) in page]
    assert len(shown) >= 6, "the hostile texts are shown, as texts"
    print(f"{len(HOSTILE)} hostile texts in names, sentences and title: none in a tag")


def test_no_cell_of_the_plotted_table_is_a_formula(tree: Path) -> None:
    """Its cells are names, which begin with a letter or digit, titles of the code, and numbers."""
    stream = io.StringIO()
    csv.writer(stream).writerows(report.accuracy_rows(report_inputs.read_inputs()))
    cells = [cell for line in csv.reader(io.StringIO(stream.getvalue())) for cell in line]
    assert len(cells) > 50
    assert [cell for cell in cells if cell[:1] in "=+-@\t\r"] == []


@pytest.mark.parametrize("text", [*HOSTILE, "a\n# heading", "a | b", ESCAPES])
def test_a_text_stays_within_its_line_and_cell_of_the_model_card(text):
    for shown in (card.line(text), card.cell(text)):
        assert "<" not in shown
        assert "\n" not in shown
        assert shown == printable(shown)
    assert "|" not in card.cell(text).replace("\\|", "")


def test_messages_command_no_terminal(capsys):
    @stage("x")
    def main() -> None:
        raise RuntimeError(f"a file named {ESCAPES}")

    with pytest.raises(SystemExit):
        main()
    error = capsys.readouterr().err
    assert all(letter.isprintable() or letter == "\n" for letter in error)
    assert "\\x1b[2J" in error


def test_printable_leaves_the_writing_of_people_alone():
    for text in ("Löwe", "日本語", "ひつじ", "हिन्दी", "👩‍🚀", "שלום", "a b", "naïve – “x”"):
        assert printable(text) == text
    assert printable(ESCAPES).isprintable()
    assert printable("\ud800") == "\\ud800"


def test_the_datasheet_commands_no_terminal(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from saft.app import app

    monkeypatch.chdir(tmp_path)
    rows = [row(f"c{ESCAPES.replace(chr(0), '')}", f"A crane {ESCAPES.replace(chr(0), '')} lifts.")]
    columns = {name: [line.get(name) for line in rows] for name in ARTIFACT.names}
    pq.write_table(pa.Table.from_pydict(columns, schema=ARTIFACT), "descriptions.parquet")
    done = CliRunner().invoke(app, ["descriptions", "show", "descriptions.parquet", "--classes"])
    assert "\x1b" not in done.output
    assert "\u202e" not in done.output
