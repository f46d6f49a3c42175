"""Thin entry points of the DVC stages, run as `python -m stages.<name>`."""

import time

STARTED = time.perf_counter()  # before the imports, which take seconds themselves
