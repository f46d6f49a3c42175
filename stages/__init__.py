"""Thin entry points of the DVC stages, run as `python -m stages.<name>`."""

import gc
import os
import sys
import time
from types import TracebackType

STARTED = time.perf_counter()  # before the imports, which take seconds themselves
if sys.argv[0] == "-m":  # python -m stages.<name>, which is not loaded yet
    gc.disable()  # a third of those seconds, and no garbage; the runner turns it on again


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Tell in one line that not even the imports of a stage fit into memory."""
    words = str(error).lower()
    memory = isinstance(error, MemoryError) or "allocate memory" in words or "map segment" in words
    if memory and not os.environ.get("SAFT_TRACEBACK"):
        print("error: out of memory while the code was loaded; see `ulimit -v`", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _uncaught
