"""Labels as a call of Python gives them: names, or names with sentences of their own."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.common.errors import UserError
from saft.inference.labels import DEFAULT_TEMPLATE, Labels, described, filled, text, typed

LabelNames = Sequence[str] | Mapping[str, str | Sequence[str]]


def labels_of(labels: LabelNames, template: str | Sequence[str] | None) -> Labels:
    """The classes and their texts.

    Args:
        template: a sentence with {} or several; None: the default, or none for labels that have
            sentences.

    Raises:
        UserError: one of them is not what it should be.
    """
    classes = typed(several(labels, "labels"))
    if not isinstance(labels, Mapping):
        chosen = DEFAULT_TEMPLATE if template is None else template
        return filled(classes, [chosen] if isinstance(chosen, str) else several(chosen, "template"))
    if template is not None:
        raise UserError("template: labels with sentences of their own take none; leave it out")
    of_each = zip(classes, labels.values(), strict=True)
    return described(classes, {entry.name: _sentences(entry.name, told) for entry, told in of_each})


def several(values: Any, where: str) -> list[Any]:
    """The values of a list or the keys of a mapping; a text is none, though it has letters.

    Raises:
        UserError: they are no list; `where` they stand is said first.
    """
    if isinstance(values, str | bytes):
        raise UserError(f"{where}: '{values!s}' is one text; give a list")
    if not isinstance(values, Iterable):
        raise UserError(f"{where}: {values!r} is no list of texts; give a list")
    return list(values)


def _sentences(name: str, sentences: Any) -> list[str]:
    where = f"labels: class '{name}'"
    sentences = [
        text(one, where)
        for one in ([sentences] if isinstance(sentences, str) else several(sentences, where))
    ]
    if not all(map(str.strip, sentences)):
        raise UserError(f"{where} has an empty sentence; write one, or leave it out")
    return sentences
