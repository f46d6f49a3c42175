"""The runs of a comparison: one for each method, or for each method and seed, with its params."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pipeline.common.errors import UserError, listed
from pipeline.common.params import PARAMS_FILE
from saft.compare.specs import METHOD, SEED, Spec, Values, with_changes
from saft.evaluation.overrides import overrides

LONGEST = 120  # characters of an experiment's name, which is a file's
# values whose dots and underscores can become dashes without two of them becoming equal
PLAIN = re.compile(
    r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*|[0-9]+(\.[0-9]+)?(e-?[0-9]+)?", re.IGNORECASE
)


class Run(NamedTuple):
    """What is trained and evaluated once.

    seed: None where none is named, which leaves that of params.yaml; values: all of params.yaml.
    """

    spec: Spec
    seed: int | None
    values: Values

    @property
    def label(self) -> str:
        """What is compared, and the seed."""
        return self.spec.label if self.seed is None else f"{self.spec.label}, seed {self.seed}"

    @property
    def experiment(self) -> str:
        """Its name among DVC's experiments: compare-<method>-<changes>-seed-<seed>, with a digest
        where the changes alone would not make it unique or valid."""
        words = [self.spec.method, *(f"{k}-{v}" for k, v in self.spec.typed.items())]
        name = re.sub("[^A-Za-z0-9]", "-", "-".join(["compare", *words]))
        plain = all(PLAIN.fullmatch(value) for value in self.spec.typed.values())
        if not plain or len(name) > LONGEST:
            digest = hashlib.sha256(repr(self.spec.changes).encode()).hexdigest()[:8]
            name = f"{re.sub('-+', '-', name)[:LONGEST].strip('-')}-{digest}"
        return name if self.seed is None else f"{name}-seed-{self.seed}"

    def changes(self, before: Values) -> list[str]:
        """The `-S` arguments of `dvc exp run` that make `values` of what params.yaml holds."""
        return overrides(before, self.values)


def planned(specs: Sequence[Spec], seeds: Sequence[int], before: Values) -> list[Run]:
    """The runs, spec by spec, of params.yaml's values `before`; no seeds: one run each.

    At the first epsilon only, without checks and last iterates, which the table does not show and
    which would take half the evaluation's time.

    Raises:
        UserError: params.yaml with the changes is not sound, a seed is given twice over, or two
            runs are the same.
    """
    shared = {
        "evaluate.last_images": 0,
        "evaluate.checks.datasets": [],
        "evaluate.epsilons_255": before["evaluate"]["epsilons_255"][:1],
    }
    runs = []
    for spec in specs:
        if seeds and SEED in spec.changes:
            raise UserError(f"'{spec.text}': {SEED} is given by --seeds already; leave one out")
        values = with_changes(before, {**shared, METHOD: spec.method, **spec.changes})
        each: Sequence[int | None] = seeds or [None]
        for seed in each:
            seed_change = {} if seed is None else {SEED: seed}
            runs.append(Run(spec, seed, with_changes(values, seed_change)))
    for problem in _problems(runs):
        raise UserError(problem)
    return runs


def _problems(runs: Sequence[Run]) -> Iterator[str]:
    from saft.schema import check_params  # with torch: only here, so that --help is quick

    for run in runs:
        if problems := check_params(run.values):
            yield f"'{run.spec.text}': {listed(problems, 3, '; ')}"
    for number, run in enumerate(runs):
        for other in runs[:number]:
            if run.values == other.values:
                yield (
                    f"'{other.spec.text}' and '{run.spec.text}' are the same run, by what "
                    f"{PARAMS_FILE} says; leave one out"
                )
