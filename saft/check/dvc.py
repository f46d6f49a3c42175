"""What DVC would do: the stages that `dvc repro` would run, and where its cache is.

`dvc status` tells what changed in dvc.yaml and in stages/dvc.yaml, of which `dvc repro` runs what
the stages of dvc.yaml need. Names are shown without the file: "finetune" for what DVC calls
"stages/dvc.yaml:finetune". (`dvc repro --dry` stops at the first output that does not exist
yet, which in a fresh clone is at once.)
"""

import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

DEFAULT_LINKS = "reflink,copy"  # dvc's default of cache.type
FILE = "stages/dvc.yaml:"  # begins the names of stages that run where those of dvc.yaml need them
_EDGE = re.compile(r'^"(.+)" -> "(.+)";', re.MULTILINE)


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
    """What dvc says, by several processes at once (each takes up to seconds to start)."""
    with ThreadPoolExecutor() as pool:
        settings = [pool.submit(_dvc, "cache", "dir"), pool.submit(_dvc, "config", "cache.type")]
        status, text = _dvc("status", "--json")
        graph = _dvc("dag", "--dot")[1] if not status else ""
        (failed, folder), (unset, links) = (one.result() for one in settings)
    cache = Path(".dvc/cache") if failed else Path(folder.strip().splitlines()[-1])
    links = DEFAULT_LINKS if unset or not links.strip() else links.strip()
    if status:
        return Runs(None, _reason(text), cache, links)
    return Runs(tuple(_to_run(_changed(text), graph)), "", cache, links)


def _changed(text: str) -> list[str]:
    """Stages in the JSON of `dvc status`, before or after which there may be other lines."""
    start = text.find("{")
    return list(json.JSONDecoder().raw_decode(text[start:])[0]) if start >= 0 else []


def _to_run(changed: list[str], graph: str) -> list[str]:
    """The stages that changed and all that depend on them, whose inputs will be others, as far as
    the stages of dvc.yaml need them; without their file.

    Args:
        graph: of `dvc dag --dot`, with edges from a stage to one that depends on it.
    """
    edges = _EDGE.findall(graph)
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


def _dvc(*arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    return done.returncode, done.stdout


def _reason(text: str) -> str:
    """The line of DVC's output that says what is wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("ERROR", "error"))]
    return (errors or lines or ["dvc said nothing"])[0].removeprefix("ERROR: ")
