"""Lines for the user while a progress bar is shown."""

import sys

from tqdm import tqdm


def say(line: str) -> None:
    """A line on stderr, from any thread, that leaves the bar whole."""
    tqdm.write(line, file=sys.stderr)
