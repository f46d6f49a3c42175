"""What DVC would do: the stages that `dvc repro` would run, and where its cache is.

DVC's status tells what changed in dvc.yaml and in stages/dvc.yaml, of which `dvc repro` runs what
the stages of dvc.yaml need. Names are shown without the file: "finetune" for what DVC calls
"stages/dvc.yaml:finetune". (`dvc repro --dry` stops at the first output that does not exist
yet, which in a fresh clone is at once.)
"""

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

DEFAULT_LINKS = "reflink,copy"  # dvc's default of cache.type
FILE = "stages/dvc.yaml:"  # begins the names of stages that run where those of dvc.yaml need them


class Runs(NamedTuple):
    """stages: names of those that would run, without their file; None where DVC cannot tell, for
    the reason `problem`; cache: its folder; links: its cache.type, the first that works counts."""

    stages: tuple[str, ...] | None
    problem: str
    cache: Path
    links: str

    def includes(self, stage: str, otherwise: bool = True) -> bool:
        """Whether a stage ("describe", "prepare@digits") would run; `otherwise` if unknown."""
        return otherwise if self.stages is None else stage in self.stages


def stages_to_run() -> Runs:
    """What dvc says, in a process of its own."""
    command = [sys.executable, "-m", "saft.check.dvc_answers"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        return Runs(None, _reason(done.stderr), Path(".dvc/cache"), DEFAULT_LINKS)
    return runs(json.loads(done.stdout.splitlines()[-1]))


def runs(answers: Mapping[str, Any]) -> Runs:
    """What follows from the answers of `dvc_answers`."""
    links = answers["links"]
    cache = Path(answers["cache"]), ",".join(links) if links else DEFAULT_LINKS
    if "problem" in answers:
        return Runs(None, _reason(answers["problem"]), *cache)
    return Runs(tuple(_to_run(answers["changed"], answers["edges"])), "", *cache)


def _to_run(changed: Sequence[str], edges: Sequence[tuple[str, str]]) -> list[str]:
    """The stages that changed and all that depend on them, whose inputs will be others, as far as
    the stages of dvc.yaml need them; without their file.

    Args:
        edges: from a stage to one that depends on it.
    """
    asked = {name for edge in edges for name in edge if not name.startswith(FILE)}
    backwards = [(end, start) for start, end in edges]
    needed = set(_reached([*asked, *(x for x in changed if not x.startswith(FILE))], backwards))
    names = [name for name in _reached(changed, edges) if name in needed]
    made_first = sorted(names, key=lambda name: not name.startswith(FILE))
    return [name.removeprefix(FILE) for name in made_first]


def _reached(stages: Iterable[str], edges: Sequence[tuple[str, str]]) -> list[str]:
    """`stages` and all that edges lead to from them, each once: ["a"] with a -> b -> c gives
    ["a", "b", "c"]."""
    ends: dict[str, list[str]] = defaultdict(list)
    for start, end in edges:
        ends[start].append(end)
    reached = dict.fromkeys(stages)
    waiting = list(reached)
    for name in waiting:  # grows
        new = [end for end in ends[name] if end not in reached]
        reached |= dict.fromkeys(new)
        waiting += new
    return list(reached)


def _reason(text: str) -> str:
    """The first line of a message, the last of a traceback."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["dvc said nothing"]
    return lines[-1] if any(line.startswith("Traceback") for line in lines) else lines[0]
