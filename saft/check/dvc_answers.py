"""What DVC says of the current project, as JSON: `python -m saft.check.dvc_answers`.

One process for all of it: DVC takes a second to start and another to read its files.
"""

import json
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo


def answers() -> dict[str, Any]:
    """cache: folder; links: its cache.type, or None; then either changed: stages that are not as
    the lock has them, and edges: (stage, stage that depends on it), or problem: why not."""
    known: dict[str, Any] = {"cache": ".dvc/cache", "links": None}
    try:
        with Repo() as repo:
            known = {"cache": repo.cache.local_cache_dir, "links": repo.config["cache"].get("type")}
            changed = list(repo.status())
            edges = [(needed.addressing, one.addressing) for one, needed in repo.index.graph.edges]
    except DvcException as error:
        return known | {"problem": str(error)}
    return known | {"changed": changed, "edges": edges}


if __name__ == "__main__":
    print(json.dumps(answers()))
