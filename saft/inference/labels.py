"""The classes that an image may be of, and the texts that stand for each.

A class is an id. Names that people type are their own ids; classes of an image set have ids and
names, and two of them may share a name.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import open_clip
from pydantic import Field

from pipeline.common.errors import UserError, listed
from pipeline.common.params import Section, Template, validate
from pipeline.common.text_files import one_form
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


def typed(names: Iterable[Any]) -> list[ClassEntry]:
    """Names as classes of their own.

    Raises:
        UserError: one is no text or empty, or CLIP reads two alike.
    """
    plain = [one_form(text(name, "labels")) for name in names]
    first: dict[tuple[int, ...], str] = {}
    for name, tokens in zip(plain, _tokens(plain), strict=True):
        if not name or tokens == NO_WORDS:
            raise UserError("labels: an empty name; write names between single commas")
        if tokens in first:
            alike = "" if first[tokens] == name else f", which CLIP does not tell from '{name}'"
            raise UserError(
                f"labels: '{first[tokens]}' stands there twice{alike}; name each class once"
            )
        first[tokens] = name
    return [ClassEntry(name, name) for name in plain]


def text(value: Any, where: str) -> str:
    """`value`, which stands at `where`.

    Raises:
        UserError: it is no text, or has bytes that are no UTF-8.
    """
    if not isinstance(value, str):
        raise UserError(f"{where}: {value!r} is no text; give a text in quotes")
    if any(0xD800 <= ord(letter) <= 0xDFFF for letter in value):
        raise UserError(f"{where}: '{value}' is not UTF-8 text; write it in UTF-8")
    return value


def filled(classes: Sequence[ClassEntry], templates: Sequence[str], name: str = TEMPLATE) -> Labels:
    """Classes with their names in templates; name: of the text set.

    Raises:
        UserError: there are fewer than two classes, or a template has not exactly one {}.
    """
    _check_several(classes)
    checked = validate({"template": list(templates)}, Templates, "the texts").template
    for template in checked:
        text(template, "the texts")
    return Labels(list(classes), fill(name, classes, checked))


def described(classes: Sequence[ClassEntry], texts: Mapping[str, Sequence[str]]) -> Labels:
    """Classes with texts of their own, by class id; as many for each.

    Raises:
        UserError: there are fewer than two classes, or one has no texts, or fewer than another.
    """
    _check_several(classes)
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


def position(label: Any, classes: Sequence[ClassEntry]) -> int:
    """Where the class stands whose id is `label`, or else whose name it is, or else whose name CLIP
    reads alike.

    Raises:
        UserError: there is none, or several have that name.
    """
    plain = one_form(text(label, "label"))
    matches = [n for n, entry in enumerate(classes) if one_form(entry.class_id) == plain]
    matches = matches or [n for n, entry in enumerate(classes) if one_form(entry.name) == plain]
    if not matches:
        same, *all_tokens = _tokens([plain, *(entry.name for entry in classes)])
        matches = [n for n, tokens in enumerate(all_tokens) if tokens == same]
    if len(matches) > 1:
        ids = [classes[n].class_id for n in matches]
        raise UserError(
            f"label '{label}': {len(matches)} classes have that name; name an id: {ids}"
        )
    if not matches:
        names = listed([entry.name for entry in classes], SHOWN)
        raise UserError(f"label '{label}' is not one of the labels {names}")
    return matches[0]


def _tokens(names: Sequence[str]) -> list[tuple[int, ...]]:
    """What CLIP reads of each name: its tokenizer knows no capitals and unravels HTML's entities,
    ligatures and typographic quotes."""
    return [tuple(row) for row in open_clip.tokenize(list(names)).tolist()]


NO_WORDS = _tokens([""])[0]


def _check_several(classes: Sequence[ClassEntry]) -> None:
    """Raise UserError where every image would be of the only class."""
    if len(classes) < 2:
        named = classes[0].name if classes else "none"
        raise UserError(f"labels: {named}: name two classes at least")
