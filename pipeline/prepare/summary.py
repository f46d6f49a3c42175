"""What `prepare` found while decoding, and the summary.json that people read."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.images.image_set import ImageSource
from pipeline.images.set_summary import note_lines

Remarks = dict[int, list[str]]


@dataclass
class Findings:
    """done: images 0..done-1 were tried; unreadable: number -> why; remarks: number -> what was
    converted. Survives in JSON."""

    done: int
    unreadable: dict[int, str]
    remarks: Remarks

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"done": self.done, "unreadable": self.unreadable, "remarks": self.remarks}

    @classmethod
    def of(cls, values: dict[str, Any]) -> "Findings":
        """From the values of `as_dict`, whose keys are strings after a round trip through JSON."""
        return cls(
            values["done"],
            {int(number): why for number, why in values["unreadable"].items()},
            {int(number): kinds for number, kinds in values["remarks"].items()},
        )


def summarise(
    source: ImageSource, numbers: Sequence[int], findings: Findings, digest: str
) -> dict[str, Any]:
    """Counts, per-class minimum and maximum, what was left out or converted, and a checksum.

    What a source says of itself (`left_out`, `notes`) is there only where it says something.
    """
    per_class = Counter(source.items[i].label for i in numbers)
    fewest = min(range(len(source.classes)), key=lambda label: (per_class[label], label))
    return {
        "images": len(numbers),
        "classes": len(source.classes),
        "images_per_class": {
            "minimum": per_class[fewest],
            "maximum": max(per_class.values()),
            "class with fewest": source.classes[fewest].class_id,
        },
        "size": source.size,
        "streamed": source.stream,
        "sha256": digest,
        "dropped": [
            {"source": source.items[i].source, "reason": why}
            for i, why in sorted(findings.unreadable.items())
        ],
        "converted": _converted(source, numbers, findings.remarks),
        **said_of(source),
    }


def said_of(source: ImageSource) -> dict[str, Any]:
    """Keys that most sets are without: by kind how many files or folders beside the images were
    left out and the first of them, and notes."""
    left_out = {
        kind: {"count": len(sources), "first": sources[0]}
        for kind, sources in source.left_out.items()
    }
    said = {"left_out": left_out, "notes": list(source.notes)}
    return {key: value for key, value in said.items() if value}


def _converted(source: ImageSource, numbers: Sequence[int], remarks: Remarks) -> dict[str, Any]:
    """Per kind of conversion the number of images and the first of them."""
    images_with: dict[str, list[int]] = {}
    for index in numbers:
        for remark in remarks.get(index, ()):
            images_with.setdefault(remark, []).append(index)
    return {
        remark: {"images": len(images), "first": source.items[images[0]].source}
        for remark, images in sorted(images_with.items())
    }


def lines(name: str, summary: dict[str, Any]) -> list[str]:
    """The summary for the terminal."""
    per_class = summary["images_per_class"]
    text_lines = [
        f"{name}: {summary['images']} images of {summary['classes']} classes, "
        f"{per_class['minimum']} to {per_class['maximum']} each "
        f"(fewest: {per_class['class with fewest']}); sha256 {summary['sha256'][:16]}"
    ]
    text_lines += [f"{name}: dropped {d['source']}: {d['reason']}" for d in summary["dropped"]]
    text_lines += [
        f"{name}: {kind}: {converted['images']} images, e.g. {converted['first']}"
        for kind, converted in summary["converted"].items()
    ]
    return [*text_lines, *(f"{name}: {line}" for line in note_lines(summary))]
