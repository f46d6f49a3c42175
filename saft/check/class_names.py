"""Class names that mean several things: a language model may describe another one.

A name counts as one that does
    of a wnid of ImageNet-1k   if OpenAI's evaluation calls the class otherwise, and the name is a
                               word for several of WordNet's 21,843 synsets that timm lists, or has
                               no word in common with OpenAI's: "monarch" (monarch butterfly),
                               "beacon" (lighthouse)
    of any other class         if it is a word for several of these synsets: "crane"
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import Literal

from pipeline.common.errors import listed
from pipeline.descriptions.wordnet import synsets_of, with_glosses
from pipeline.images.classes import ClassEntry

SHOWN = 5  # names in the remark


def ambiguous(classes: Sequence[ClassEntry]) -> list[ClassEntry]:
    """The classes whose names mean several things, in their order."""
    return [class_entry for class_entry in classes if _is_ambiguous(class_entry)]


def remark(classes: Sequence[ClassEntry], gloss: Literal["none", "known"]) -> str | None:
    """One line on the names that mean several things, and what to do; None without any."""
    doubtful = ambiguous(classes)
    if not doubtful:
        return None
    explained = [entry for entry in with_glosses(doubtful, gloss) if entry.gloss]
    line = (
        f"{len(doubtful)} of {len(classes)} class names mean several things: "
        f"{listed([entry.name for entry in doubtful], SHOWN)}; {len(explained)} of them have a "
        "gloss in the questions"
    )
    if len(explained) < len(doubtful):
        line += " (describe.gloss: known, or a column gloss in classes.tsv)"
    other_names = [_openai_names()[e.class_id] for e in doubtful if e.class_id in _openai_names()]
    if other_names:
        line += f"; `names: openai` says {listed(other_names, SHOWN)}"
    return line


def _is_ambiguous(class_entry: ClassEntry) -> bool:
    name, several = class_entry.name, len(synsets_of(class_entry.name)) > 1
    openai = _openai_names().get(class_entry.class_id)
    if openai is None:
        return several
    return _letters(name) != _letters(openai) and (several or not _words(name) & _words(openai))


def _letters(name: str) -> str:
    return re.sub(r"\W", "", name.lower())


def _words(name: str) -> set[str]:
    return set(re.findall(r"\w+", name.lower()))


@cache
def _openai_names() -> dict[str, str]:
    """OpenAI's name of each of ImageNet-1k's wnids."""
    import open_clip

    from pipeline.prepare.wnids import all_wnids

    return dict(zip(all_wnids(), open_clip.IMAGENET_CLASSNAMES, strict=True))
