"""Where descriptions come from: the file that says so, and the sources of rows that only fill a
slot, which were not written for the class."""

from pathlib import Path

PROVENANCE = Path("data/descriptions/provenance.json")

TEMPLATE = "template"  # the source of the filled template of the class
REPEATED = ", repeated"  # ends the source of a sentence that is repeated


def is_fill(source: str) -> bool:
    """Whether a row only fills a slot for which its class had no sentence."""
    return source == TEMPLATE or source.endswith(REPEATED)
