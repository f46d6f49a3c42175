"""Guarded sections, a budget of seconds, and a JSON file that is complete after every section."""

import json
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.common.atomic import replacing_file

FILE = "acceptance.json"
SHOWN = 600  # most characters of a section's result on the terminal
Result = dict[str, Any]


class Report:
    """What was measured so far.

    content: `sections`: name -> {result, seconds}, with `error` (a traceback) where it raised,
    or {skipped}; `failed_checks`: one text each. `only`: sections to run, empty for all.
    """

    def __init__(self, folder: Path, budget: float, only: frozenset[str] = frozenset()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.file, self.budget, self.only = folder / FILE, budget, only
        self.started = time.perf_counter()
        self.content: dict[str, Any] = {"sections": {}, "failed_checks": []}

    def left(self) -> float:
        """Seconds of the budget."""
        return self.budget - (time.perf_counter() - self.started)

    def result(self, section: str) -> Result:
        """What a section has measured; empty if it was not run."""
        return self.content["sections"].get(section, {}).get("result", {})

    def require(self, holds: bool, what: str) -> None:
        """Note a failed check under the text `what` unless it holds."""
        if not holds:
            self.content["failed_checks"].append(what)
            print("FAILED:", what, flush=True)

    def section(self, name: str, needs: float, run: Callable[[Result], None]) -> None:
        """Run a section if it was chosen and the budget has `needs` seconds left. One that raises
        is a failed check; what it had measured stays."""
        if self.only and name not in self.only:
            return
        record = self.content["sections"][name] = {}
        if needs > max(self.left(), 0):
            record["skipped"] = f"{self.left():.0f} s left, needs {needs:.0f}"
        else:
            self._run(name, record, run)
        self.write()
        spent = time.perf_counter() - self.started
        print(f"[{spent:5.0f} s] {name}: {record}"[:SHOWN], flush=True)

    def _run(self, name: str, record: dict[str, Any], run: Callable[[Result], None]) -> None:
        started = time.perf_counter()
        result = record["result"] = {}
        try:
            run(result)
        except Exception as error:  # whatever it is, the other sections go on
            record["error"] = traceback.format_exc()
            self.require(False, f"section {name} raised {type(error).__name__}: {error}"[:SHOWN])
        record["seconds"] = round(time.perf_counter() - started, 1)

    def write(self) -> None:
        """Write the whole file again, atomically."""
        with replacing_file(self.file) as partial:
            partial.write_text(json.dumps(self.content, indent=1) + "\n", encoding="utf-8")
