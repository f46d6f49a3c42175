"""What `saft check` looks at before `dvc repro`: everything is checked and estimated, nothing is
computed, downloaded or written.

    parts         all parts, in order      plan          params.yaml, and what follows from it
    sets          state of an image set    data          image sets and class tables
    descriptions  the backend              text_sets     what classifies the image sets
    model_state   a model to be            models        their weights, and whether images fit
    published     models of the hub        probe         how often a method encodes an image
    stages        what runs, how long      times         FLOPs of the stages
    memory        training and attacks     disk          free space
    dvc           what it would run        units         radii that look like fractions
    class_names   ambiguous names          backends      whether a model can be asked
    letter_case   names that differ in case only
No stage imports this package.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Part:
    """The findings of one part: lines to read, problems (one line each, with what to do), and the
    numbers behind them, JSON-serialisable."""

    title: str
    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Download:
    """What a stage will fetch into `folder`; stages with the same `title` and folder share it.
    disk: bytes that it takes there, None where they are not known."""

    title: str
    folder: Path
    disk: float | None


def size(count: float) -> str:
    """Bytes for people, in powers of 1000: "12 MB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def duration(seconds: float) -> str:
    """Seconds for people: "40 s", "12 min", "3.5 h", "2.1 days"."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 72 * 3600 else f"{seconds / 86400:.1f} days"


def error_line(error: Exception) -> str:
    """One line for an error that this project did not raise itself."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
