"""summary.json of an image set: its counts, and what `prepare` left out or has to say of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.common.bounds import Count
from pipeline.common.params import Section, validate
from pipeline.common.tables import read_json

SUMMARY = "summary.json"


class PerClass(Section, extra="ignore"):
    """Images of the class with the fewest, and of the one with the most."""

    minimum: int
    maximum: int


class Dropped(Section, extra="ignore"):
    """An image that was left out."""

    source: str


class LeftOut(Section, extra="ignore"):
    """Files of one kind that are no part of the set."""

    count: Count
    first: str


class Summary(Section, extra="ignore"):
    """What stages rely on of summary.json."""

    images: int
    classes: int
    images_per_class: PerClass
    size: int
    streamed: bool
    sha256: str
    dropped: list[Dropped]
    left_out: dict[str, LeftOut] = {}
    notes: list[str] = []


def read_summary(folder: Path) -> Summary:
    """summary.json of the set in `folder`.

    Raises:
        UserError: it is missing, damaged, or without what stages rely on.
    """
    path = folder / SUMMARY
    return validate(read_json(path), Summary, str(path))


def told_of(folder: Path) -> dict[str, Any]:
    """What whoever computes with a set has to tell of it, for a JSON file: "dropped", how many
    images `prepare` could not read and left out, and "set_notes", its `note_lines`, if any."""
    summary = read_summary(folder)
    notes = note_lines(summary.model_dump())
    return {"dropped": len(summary.dropped), **({"set_notes": notes} if notes else {})}


def note_lines(summary: Mapping[str, Any]) -> list[str]:
    """What a summary.json says that `prepare` left out beside the images, and what else it notes,
    in one line each; [] for most sets."""
    left_out = summary.get("left_out", {}).items()
    lines = [f"{kind}: {what['count']} left out, e.g. {what['first']}" for kind, what in left_out]
    return [*lines, *summary.get("notes", [])]
