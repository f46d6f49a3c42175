"""The comparison as one HTML page that needs no other file, made as the report is."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2

from pipeline.report import drawing
from pipeline.report.page import TEMPLATES as OF_REPORT
from pipeline.report.pareto import clean_against_robust, front
from saft.compare.arms import Arm, all_done, columns
from saft.compare.data import experiments
from saft.compare.table import MEAN, TableRow, plot_points, table_rows
from saft.compare.texts import (
    caption,
    change_text,
    cost_text,
    ece_texts,
    row_label,
    share_text,
    titles,
)


def plot(arms: Sequence[Arm]) -> tuple[drawing.Draw, float]:
    """Clean against the worst case of everything that was run, for `drawing.svg`."""
    worst = list(columns(all_done(arms)[0].sets[0]).values())[-1]
    return clean_against_robust(plot_points(arms), worst)


def on_front(arms: Sequence[Arm]) -> list[str]:
    """The labels of the Pareto front, by rising clean accuracy."""
    points = plot_points(arms)
    return [points[index].title for index in front(points)]


def render(arms: Sequence[Arm]) -> str:
    """The page; every text from the inputs is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([Path(__file__).parent, OF_REPORT]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        caption=caption(arms),
        titles=titles(arms),
        tables=list(_tables(arms)),
        plot=drawing.svg_uri(*plot(arms)),
        front=on_front(arms),
        experiments=experiments(arms),
    )


def _tables(arms: Sequence[Arm]) -> Iterator[dict[str, Any]]:
    """The means first, then every image set."""
    keys = list(columns(all_done(arms)[0].sets[0]))
    groups = [
        (name, [_line(row, keys, arms) for row in rows])
        for name, rows in groupby(table_rows(arms), key=lambda row: row.dataset)
    ]
    for name, lines in [*groups[-1:], *groups[:-1]]:
        about = next((e.about for e in all_done(arms)[0].sets if e.about.dataset == name), None)
        title = f"{MEAN} over the {len(groups) - 1} image sets" if about is None else name
        yield {"title": title, "about": about, "lines": lines}


def _line(row: TableRow, keys: Sequence[str], arms: Sequence[Arm]) -> dict[str, Any]:
    cells = [(share_text(row.shares[key]), key in row.best) for key in keys if row.shares]
    errors = [(text, False) for text in ece_texts(row, arms) if row.ece]
    return {
        "label": row_label(row),
        "single": not row.arm and row.runs is not None,
        "cells": [*cells, *errors],
        "change": change_text(row.change),
        "cost": cost_text(row.cost),
    }
