"""Decode every image of a source once, into the form that `pipeline.images.image_set` opens.

A source is a module of `pipeline.datasets`, called as in `prepare.sets.<set>.source`, with
    class Params(Section)                  its keys under `prepare.sets.<set>`, with `source`
    def open_source(params) -> ImageSource classes, items and a thread-safe decoder
and, where it is a published data set, FACTS (see `prepare/facts.py`).

An interrupted run continues where it stopped: the pixels so far, and what is known of each
image, are stored in .scratch (see `pipeline.common.scratch`), never in an output.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from pipeline.common import scratch
from pipeline.common.atomic import replacing_directory
from pipeline.common.errors import UserError, listed
from pipeline.common.params import Section
from pipeline.common.progress import counter
from pipeline.common.tables import read_json, write_json, write_table
from pipeline.images.classes import check_labels, write_classes
from pipeline.images.decoding import UNREADABLE, Decoded, reason
from pipeline.images.image_set import ITEM_SCHEMA, ImageSource, check_name, item_faults
from pipeline.images.set_summary import SUMMARY
from pipeline.images.streaming import workers
from pipeline.prepare.pixel_files import CHUNK, compacting, working_file, write_pixels
from pipeline.prepare.summary import Findings, summarise

SAVE_EVERY = 16  # chunks between resume points
FINDINGS = "findings.json"  # without it, pixels in the same folder are discarded
PROBES = 32  # images that tell rendered or in-memory sources apart
Mode = Literal["error", "drop"]


class PrepareParams(Section):
    """Section `prepare` of params.yaml, where every key is explained."""

    on_unreadable: Mode
    sets: dict[str, dict[str, Any]] = Field(min_length=1)


def check_source(source: ImageSource, name: str) -> None:
    """Raise UserError on duplicate class ids, labels without a class, or empty classes, where the
    source has no distractors."""
    repeated = [c for c, n in Counter(e.class_id for e in source.classes).items() if n > 1]
    if repeated:
        raise UserError(f"{name}: class id '{repeated[0]}' occurs more than once")
    if not source.items:
        raise UserError(f"{name}: holds no image")
    for item in source.items:
        check_name(item.source, name)
    labels = np.array([item.label for item in source.items], dtype=np.int64)
    check_labels(labels, len(source.classes), name)
    empty = sorted(set(range(len(source.classes))) - set(labels.tolist()))
    if empty and not source.distractors:
        ids = [source.classes[label].class_id for label in empty]
        raise UserError(f"{name}: {len(empty)} classes have no image: {listed(ids, 10)}")
    if source.stream and source.files is None:
        raise UserError(
            f"{name}: its images are not stored in files of their own, so they cannot be streamed; "
            "set stream: false"
        )


def pack(
    source: ImageSource, name: str, images: Path, classes: Path, on_unreadable: Mode = "error"
) -> dict[str, Any]:
    """Write the folder `images` and the class table `classes`, or nothing; the summary.

    Raises:
        UserError: the source is inconsistent, images cannot be decoded and are not to be
            dropped (all are listed by count, the first ones by name), or a drop empties a class.
    """
    check_source(source, name)
    with scratch.locked("prepare", _fingerprint(source)) as state:
        if compacting(state) and on_unreadable == "error":  # the rows of those images are gone
            (state / FINDINGS).unlink()
        findings = _decode_all(source, name, state)
        if findings.unreadable and on_unreadable == "error":
            raise UserError(_unreadable_message(name, findings, source))
        numbers = [i for i in range(len(source.items)) if i not in findings.unreadable]
        _check_drop(source, numbers, name)
        with replacing_directory(images) as folder:
            digest = write_pixels(source, numbers, state, folder)
            items = [source.items[i] for i in numbers]
            columns: dict[str, list[Any]] = {
                key: [getattr(item, key) for item in items] for key in ITEM_SCHEMA.names
            }
            write_table(folder / "items.parquet", columns, ITEM_SCHEMA, item_faults)
            summary = summarise(source, numbers, findings, digest)
            write_json(folder / SUMMARY, summary)
            write_classes(classes, source.classes, source.templates)
        scratch.clear(state)  # last: until then a killed run goes on from it
    return summary


def _decode_all(source: ImageSource, name: str, state: Path) -> Findings:
    """Decode what an earlier, interrupted run has not; images that failed are tried again."""
    total = len(source.items)
    path = state / FINDINGS
    findings = Findings.of(read_json(path)) if path.exists() else Findings(0, {}, {})
    if path.exists() and compacting(state):  # what could not be decoded has no row any more
        return findings
    out = None if source.stream else working_file(source, state, new=not path.exists())
    to_decode = [*sorted(findings.unreadable), *range(findings.done, total)]
    with counter(f"prepare {name}", total, "image") as bar:
        bar.update(total - len(to_decode))
        for count, (index, result) in enumerate(_decode_in_threads(source, to_decode), start=1):
            if isinstance(result, Exception):
                findings.unreadable[index] = reason(result)
            else:
                findings.unreadable.pop(index, None)
                if out is not None:
                    out[index] = result.pixels
                if result.remarks:
                    findings.remarks[index] = list(result.remarks)
            findings.done = max(findings.done, index + 1)
            if count % (CHUNK * SAVE_EVERY) == 0:
                _save(findings, out, path)
            bar.update()
    _save(findings, out, path)
    return findings


def _save(findings: Findings, out: np.memmap | None, path: Path) -> None:
    if out is not None:
        out.flush()
    write_json(path, findings.as_dict())


def _decode_in_threads(
    source: ImageSource, numbers: Sequence[int]
) -> Iterator[tuple[int, Decoded | Exception]]:
    """The images in that order, decoded by threads, a chunk at a time."""

    def attempt(index: int) -> Decoded | Exception:
        try:
            return source.decode(index)
        except UNREADABLE as error:
            return error

    with ThreadPoolExecutor(workers()) as pool:
        for start in range(0, len(numbers), CHUNK):
            part = numbers[start : start + CHUNK]
            yield from zip(part, pool.map(attempt, part), strict=True)


def _unreadable_message(name: str, findings: Findings, source: ImageSource) -> str:
    reasons = [
        f"{source.items[i].source} ({why})" for i, why in sorted(findings.unreadable.items())
    ]
    return (
        f"{name}: {len(reasons)} of {len(source.items)} images cannot be read: "
        f"{listed(reasons, 5, '; ')}; replace them and run "
        "again (what is decoded is kept), or set prepare.on_unreadable: drop"
    )


def _check_drop(source: ImageSource, numbers: Sequence[int], name: str) -> None:
    emptied = {item.label for item in source.items} - {source.items[i].label for i in numbers}
    empty = [e.class_id for label, e in enumerate(source.classes) if label in emptied]
    if empty:
        raise UserError(
            f"{name}: no image of class '{empty[0]}' can be read ({len(empty)} classes in all); "
            "drop would leave it empty"
        )


def _fingerprint(source: ImageSource) -> str:
    """Hash of the images, their decoding and the code, which own a resume state."""
    digest = hashlib.sha256(f"{source.size} {source.stream}".encode())
    for number, item in enumerate(source.items):
        digest.update(f"\n{item.label} {item.source}".encode())
        if source.files is not None:
            digest.update(f" {source.files.files[number]} {source.files.resize}".encode())
    if source.files is None:  # labels and names do not tell how such images are drawn or read
        for number in range(0, len(source.items), max(1, len(source.items) // PROBES)):
            digest.update(source.decode(number).pixels.tobytes())
    for path in scratch.loaded_code():
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
