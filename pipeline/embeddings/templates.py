"""Class names filled into templates."""

from collections.abc import Sequence
from typing import Literal

from pipeline.common.errors import UserError
from pipeline.common.params import Section, Template
from pipeline.images.classes import ClassEntry, fill_templates
from pipeline.zeroshot.text_tables import TEMPLATE, TextTable

Templates = dict[str, list[Template] | Literal["openai", "own"]]


class EmbedParams(Section):
    """Section `embed` of params.yaml, where every key is explained."""

    texts: dict[str, Templates]


def datasets_of(
    texts: str, trained: str, datasets: Sequence[str], checked: Sequence[str]
) -> list[str]:
    """The image sets whose classes a text set is filled with, each once.

    Args:
        trained: finetune.dataset, which is trained with TEMPLATE.
        datasets, checked: evaluate.datasets, evaluate.checks.datasets.
    """
    trained_with = [trained] if texts == TEMPLATE else []
    return list(dict.fromkeys([*trained_with, *datasets, *checked]))


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


def fill(texts: str, classes: Sequence[ClassEntry], templates: Sequence[str]) -> TextTable:
    """One text per class and template of text set `texts`."""
    return TextTable(
        texts,
        list(templates),
        [class_entry.class_id for class_entry in classes for _ in templates],
        list(range(len(templates))) * len(classes),
        [text for texts in fill_templates(templates, classes) for text in texts],
    )
