"""Classes of one image set that a text set gives the same texts.

Their text features are equal, so no model can tell them apart: of two equal logits the first wins,
and the second class is never predicted.
"""

import sys
from collections.abc import Sequence

from pipeline.common.text_files import one_form
from pipeline.images.classes import ClassEntry, fill_templates

QUOTES = str.maketrans("\u2018\u2019\u201c\u201d", "''\"\"")  # that ftfy makes straight for CLIP


def same_texts(class_ids: Sequence[str], texts: Sequence[Sequence[str]]) -> list[list[str]]:
    """The groups of two or more classes with the same texts, each in the order of `class_ids`.

    Case, white space, the kind of quotes, Unicode forms and the order of a class's texts do not
    count: CLIP's tokenizer sees none but the last, and a class feature is a mean.

    Args:
        class_ids: C ids, each once.
        texts: the texts of each class, in the order of `class_ids`.

    Example: ids a, b, c with texts ["a crane"], ["a tench"], ["A  crane"] give [["a", "c"]].
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    for class_id, own_texts in zip(class_ids, texts, strict=True):
        folded = sorted(one_form(text.translate(QUOTES)).casefold() for text in own_texts)
        groups.setdefault(tuple(folded), []).append(class_id)
    return [ids for ids in groups.values() if len(ids) > 1]


def say_same_texts(
    dataset: str, texts: str, class_ids: Sequence[str], strings: Sequence[str]
) -> None:
    """Print one line on stderr if classes have the same texts.

    Args:
        class_ids, strings: of each text of the text set `texts` its class and itself.
    """
    texts_of: dict[str, list[str]] = {}
    for class_id, string in zip(class_ids, strings, strict=True):
        texts_of.setdefault(class_id, []).append(string)
    groups = same_texts(list(texts_of), list(texts_of.values()))
    if groups:
        print(
            f"warning: {describe_same_texts(dataset, texts, groups)}: no model can tell them "
            f"apart, and only '{groups[0][0]}' is ever predicted; give one another name",
            file=sys.stderr,
        )


def describe_same_texts(dataset: str, texts: str, groups: Sequence[Sequence[str]]) -> str:
    """One clause on the groups of `same_texts`, at least one.

    Args:
        texts: name of the text set.

    Example: "classes 'n02012849' and 'n03126707' of 'imagenet' have the same texts in text set
    'template'".
    """
    first, *others = groups
    ids = [f"'{class_id}'" for class_id in first]
    more = f" (and {len(others)} more such group{'s' * (len(others) > 1)})" if others else ""
    listed_ids = f"{', '.join(ids[:-1])} and {ids[-1]}"
    return f"classes {listed_ids} of '{dataset}' have the same texts in text set '{texts}'{more}"


def same_texts_remark(
    dataset: str, texts: str, templates: Sequence[str], classes: Sequence[ClassEntry]
) -> str | None:
    """One sentence for people, None where all classes have texts of their own.

    Args:
        texts, templates: a text set by name, and what it is filled from; with no template
            (descriptions) nothing is said.
        classes: the class table of `dataset`.
    """
    if not templates:
        return None
    ids, names = [c.class_id for c in classes], {c.class_id: c.name for c in classes}
    groups = same_texts(ids, fill_templates(templates, classes))
    if not groups:
        return None
    noun = "names" if len(groups) > 1 else "name"
    shared = ", ".join(f"“{names[group[0]]}”" for group in groups)
    return (
        f"In this table, {describe_same_texts(dataset, texts, groups)} ({noun} {shared}): no model "
        "can tell them apart, and of such a group only the first class is ever predicted."
    )
