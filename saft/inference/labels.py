"""The classes that an image may be of, and the texts that stand for each.

A class is an id. Names that people type are their own ids; classes of an image set have ids and
names, and two of them may share a name.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pydantic import Field

from pipeline.common.errors import UserError, listed
from pipeline.common.params import Section, Template, validate
from pipeline.embeddings.templates import fill
from pipeline.images.classes import ClassEntry
from pipeline.zeroshot.text_tables import DESCRIPTIONS, TEMPLATE, TextTable

DEFAULT_TEMPLATE = "This is a photo of a {}"
SHOWN = 8  # names that a message lists


class Templates(Section):
    """Templates as typed."""

    template: list[Template] = Field(min_length=1)


class Labels(NamedTuple):
    """The classes in their order, and their texts, class by class and as many of each."""

    classes: list[ClassEntry]
    table: TextTable

    @property
    def titles(self) -> list[str]:
        """Names for people: with the id where two classes share one."""
        counts = Counter(entry.name for entry in self.classes)
        return [
            entry.name if counts[entry.name] == 1 else f"{entry.name} ({entry.class_id})"
            for entry in self.classes
        ]


def typed(names: Sequence[str]) -> list[ClassEntry]:
    """Names as classes of their own.

    Raises:
        UserError: fewer than two, an empty one, or two that CLIP reads alike.
    """
    plain = [" ".join(name.split()) for name in names]
    if not all(plain):
        raise UserError("labels: an empty name; write names between single commas")
    if len(plain) < 2:
        raise UserError(f"labels: {listed(plain, 1) or 'none'}: name two classes at least")
    counts = Counter(name.lower() for name in plain)  # CLIP's tokenizer knows no capitals
    for name in plain:
        if counts[name.lower()] > 1:
            raise UserError(f"labels: '{name}' stands there twice; name each class once")
    return [ClassEntry(name, name) for name in plain]


def filled(classes: Sequence[ClassEntry], templates: Sequence[str], name: str = TEMPLATE) -> Labels:
    """Classes with their names in templates; name: of the text set.

    Raises:
        UserError: a template has not exactly one {}.
    """
    checked = validate({"template": list(templates)}, Templates, "the texts").template
    return Labels(list(classes), fill(name, classes, checked))


def described(classes: Sequence[ClassEntry], texts: Mapping[str, Sequence[str]]) -> Labels:
    """Classes with texts of their own, by class id; as many for each.

    Raises:
        UserError: a class has none, or fewer than another.
    """
    missing = [entry.name for entry in classes if not texts.get(entry.class_id)]
    if missing:
        raise UserError(f"class '{missing[0]}' has no description ({len(missing)} have none)")
    counts = {entry.class_id: len(texts[entry.class_id]) for entry in classes}
    if len(set(counts.values())) > 1:
        few, many = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
        raise UserError(
            f"class '{few}' has {counts[few]} descriptions, '{many}' {counts[many]}; "
            "give each class as many"
        )
    ids = [entry.class_id for entry in classes for _ in texts[entry.class_id]]
    slots = [slot for entry in classes for slot in range(counts[entry.class_id])]
    sentences = [text for entry in classes for text in texts[entry.class_id]]
    return Labels(list(classes), TextTable(DESCRIPTIONS, [], ids, slots, sentences))


def position(label: str, classes: Sequence[ClassEntry]) -> int:
    """Where the class stands whose id is `label`, or else whose name it is.

    Raises:
        UserError: there is none, or several have that name.
    """
    plain = " ".join(label.split())
    matches = [n for n, entry in enumerate(classes) if entry.class_id == plain]
    matches = matches or [n for n, entry in enumerate(classes) if entry.name == plain]
    if len(matches) > 1:
        ids = [classes[n].class_id for n in matches]
        raise UserError(
            f"label '{label}': {len(matches)} classes have that name; name an id: {ids}"
        )
    if not matches:
        names = listed([entry.name for entry in classes], SHOWN)
        raise UserError(f"label '{label}' is not one of the labels {names}")
    return matches[0]
