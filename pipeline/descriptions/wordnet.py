"""What ImageNet's classes mean: WordNet's glosses and lemmas by wnid, as timm ships them for the
21,843 synsets of ImageNet-21k and the 1,000 of ImageNet-1k."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Literal

from pipeline.images.classes import ClassEntry

_WNID = re.compile(r"n\d{8}")


def with_glosses(classes: Sequence[ClassEntry], kind: Literal["none", "known"]) -> list[ClassEntry]:
    """The classes as a model is asked about them.

    Args:
        kind: known: each with the gloss of its class table, or WordNet's where its id is a wnid;
            none: all without one.
    """
    if kind == "none":
        return [replace(class_entry, gloss="") for class_entry in classes]
    return [
        replace(class_entry, gloss=class_entry.gloss or gloss_of(class_entry.class_id))
        for class_entry in classes
    ]


def gloss_of(class_id: str) -> str:
    """WordNet's definition of a wnid, without the lemmas; "" for any other id.

    For example "n02279972" gives "large migratory American butterfly having deep orange wings
    with black and white markings; the larvae feed on milkweed".
    """
    lemmas = lemmas_of(class_id)
    if not lemmas:
        return ""
    detailed = str(_info("imagenet-21k").label_name_to_description(class_id, detailed=True))
    return detailed.removeprefix(f"{', '.join(lemmas)}: ")


def lemmas_of(class_id: str) -> list[str]:
    """The words for a wnid, the usual one first; [] for any other id."""
    if not _WNID.fullmatch(class_id):
        return []
    try:
        description = str(_info("imagenet-21k").label_name_to_description(class_id))
    except KeyError:
        return []
    return description.split(", ")


def synsets_of(name: str) -> frozenset[str]:
    """The wnids for which `name` is a word, whatever its capitals: two for "crane"."""
    return _synsets_by_lemma().get(name.lower(), frozenset())


@cache
def _synsets_by_lemma() -> dict[str, frozenset[str]]:
    # some of ImageNet-1k are missing among those of 21k
    wnids = {*_info("imagenet-21k").label_names(), *_info("imagenet-1k").label_names()}
    synsets: dict[str, set[str]] = {}
    for wnid in wnids:
        for lemma in lemmas_of(wnid):
            synsets.setdefault(lemma.lower(), set()).add(wnid)
    return {lemma: frozenset(members) for lemma, members in synsets.items()}


@cache
def _info(subset: str) -> Any:
    from timm.data import ImageNetInfo  # seconds to import: only where there are wnids

    return ImageNetInfo(subset)
