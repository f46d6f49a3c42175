"""Times the steps of the checkout it runs in, when asked: the worker of `against_commit`.

Runs as a script with another commit's checkout on PYTHONPATH, so it may use only what both have.
Lines on standard input, answered by one line of JSON each: `first` (losses of the first training
step, and its attack's perturbation to a file), `training`, `pgd` (seconds of one), `end`.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.project import Project
from benchmarks.setting import Setting, make_scene


def main(options: dict, perturbation: Path) -> None:
    """Build the project's step and obey."""
    setting = Setting(**options)
    project = Project(make_scene(setting), setting)
    steps = {"training": project.train_step, "pgd": lambda: project.perturb(1)}
    answer = sys.stdout
    sys.stdout = sys.stderr  # progress and prints of the checkout
    for line in sys.stdin:
        word = line.strip()
        if word == "first":
            np.save(perturbation, project.perturb(setting.attack_steps).numpy())
            value = {name: loss.item() for name, loss in project.train_step().items()}
        elif word in steps:
            started = time.perf_counter()
            steps[word]()
            value = time.perf_counter() - started
        else:
            return
        print(json.dumps(value), file=answer, flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), Path(sys.argv[2]))
