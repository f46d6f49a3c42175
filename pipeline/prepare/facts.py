"""What is known about a published data set without having it."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple

from pipeline.images.decoding import Resize

COMMON = "This is a photo of a {}"  # the reference's template, where a set has none of its own


class Split(NamedTuple):
    """Published size of a split, and the paths below the root that it needs."""

    images: int
    classes: int
    needs: tuple[str, ...]


class Archive(NamedTuple):
    """A file to fetch; `into` is the folder below the root that it is extracted in.

    md5: the publisher's checksum, None where there is none; split: the only one it is needed for.
    """

    url: str
    md5: str | None
    into: str = "."
    split: str = ""

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rsplit("/", 1)[1]


@dataclass(frozen=True)
class Facts:
    """A published data set. Sizes and counts are the publisher's.

    split: what is evaluated unless params say otherwise, as in the reference (SAFT release);
    pixels: side of the images, None where they differ; resize: the reference's preprocessing;
    templates: its prompts, as in the reference, {} is the class name; disk_gb: unpacked,
    all splits; manual: what people have to do by hand; archives: what can be fetched;
    finish: shell commands after that, {split} is the split; unlabelled: splits that exist
    without public labels.
    """

    title: str
    splits: Mapping[str, Split]
    split: str
    resize: Resize
    pixels: int | None
    licence: str
    citation: str
    homepage: str
    disk_gb: float
    templates: tuple[str, ...] = (COMMON,)
    archives: tuple[Archive, ...] = ()
    manual: str = ""
    finish: tuple[str, ...] = ()
    unlabelled: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def published_facts(source: ModuleType) -> Facts | None:
    """What a module of `pipeline.datasets` declares as FACTS; None: its set is not published."""
    return getattr(source, "FACTS", None)
