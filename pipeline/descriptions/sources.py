"""Sources of rows that only fill a slot: nobody wrote them for the class."""

TEMPLATE = "template"  # the source of a sentence that nobody wrote for the class
REPEATED = ", repeated"  # ends the source of a sentence that is there once more


def is_fill(source: str) -> bool:
    """Whether a row only fills a slot for which its class had no sentence."""
    return source == TEMPLATE or source.endswith(REPEATED)
