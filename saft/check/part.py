"""What `saft check` looks at before `dvc repro`: everything is checked and estimated, nothing is
computed, downloaded or written.

    plan      params.yaml, read once, and what is known of sets and model
    sets      the state of an image set        data     image sets and class tables
    texts     descriptions
    text_sets what classifies them             stages   which run, and for how long
    weights   the base model                   vit      size and work of a vision transformer
    probe     how often a method encodes       memory   training and evaluation
    disk      space                            dvc      what it would run
    times     FLOPs of the stages              published   models of the hub, before loading
    checks    all parts, in order
No stage imports this package.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Part:
    """What one part found: lines to read, problems (one line each, with what to do), and the
    numbers behind them, JSON-serialisable."""

    title: str
    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)


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
    """One line for an error that no part of this project raised."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
