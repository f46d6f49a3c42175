"""Class names filled into templates."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pipeline.common.errors import UserError
from pipeline.common.params import Section, Template
from pipeline.images.classes import (
    CHECKED,
    EVALUATED,
    ClassEntry,
    fill_templates,
    read_classes,
    read_own_templates,
)
from pipeline.zeroshot.text_tables import DESCRIPTIONS, TextTable, file_of, texts_of

Templates = dict[str, list[Template] | Literal["openai", "own"]]


class EmbedParams(Section):
    """Section `embed` of params.yaml, where every key is explained."""

    texts: dict[str, Templates]


def templates_of(
    texts: str, dataset: str, templates: Templates, source_templates: Sequence[str] = ()
) -> list[str]:
    """The templates of a text set for an image set: its own entry, else `default`.

    Args:
        templates: `embed.texts.<texts>`.
        source_templates: the templates that the image set's source brings along, for entries `own`.

    Raises:
        UserError: the text set has neither key, or asks for templates that the source does not
            have.
    """
    chosen = templates.get(dataset, templates.get("default"))
    if not chosen:
        raise UserError(f"params.yaml: embed.texts.{texts} has neither '{dataset}' nor 'default'")
    if chosen == "openai":
        import open_clip  # with torch: seconds to import

        return [template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES]
    if chosen == "own":
        if not source_templates:
            raise UserError(
                f"params.yaml: embed.texts.{texts} asks for the own templates of '{dataset}', "
                "whose source has none; write a list for it there"
            )
        return list(source_templates)
    return list(chosen)


def class_folders(evaluated: Sequence[str], checked: Sequence[str]) -> dict[str, Path]:
    """Image set that a text set needs texts for -> the folder of its class table.

    Args:
        evaluated, checked: evaluate.datasets, evaluate.checks.datasets.
    """
    return {**dict.fromkeys(checked, CHECKED), **dict.fromkeys(evaluated, EVALUATED)}


def read_filled(texts: str, dataset: str, templates: Templates, folder: Path) -> TextTable:
    """The texts of an image set under a text set, by its class table in `folder`."""
    source_templates = read_own_templates(dataset, folder)
    chosen = templates_of(texts, dataset, templates, source_templates)
    return fill(texts, read_classes(dataset, folder), chosen)


def read_texts(texts: str, dataset: str, classes: Sequence[ClassEntry]) -> TextTable:
    """The texts of the classes of an image set under a text set, as stage `texts` or `filter` wrote
    them.

    Raises:
        UserError: a file is missing or damaged, or of other classes or templates than it says.
    """
    table = texts_of(texts, dataset, [class_entry.class_id for class_entry in classes])
    if texts != DESCRIPTIONS and table != fill(texts, classes, table.templates):
        raise UserError(
            f"{file_of(texts, dataset)}: not its templates filled with the names of the classes of "
            f"'{dataset}'; run `dvc repro`"
        )
    return table


def fill(texts: str, classes: Sequence[ClassEntry], templates: Sequence[str]) -> TextTable:
    """One text per class and template of text set `texts`."""
    return TextTable(
        texts,
        list(templates),
        [class_entry.class_id for class_entry in classes for _ in templates],
        list(range(len(templates))) * len(classes),
        [text for texts in fill_templates(templates, classes) for text in texts],
    )
