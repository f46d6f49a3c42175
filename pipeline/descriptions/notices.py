"""Lines for the user while a progress bar is shown."""

import sys

from tqdm import tqdm

from pipeline.common.secrets import shown


def say(line: str) -> None:
    """A line on stderr, from any thread, that leaves the bar whole."""
    tqdm.write(shown(line), file=sys.stderr)
