"""What stands in a comparison: arms, each a method with its changes, trained once or once for every
seed."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from pipeline.clip.folders import FINETUNED
from pipeline.results.evaluated import EvaluatedSet


class ComparedRun(NamedTuple):
    """One training: its label, its evaluated image sets in the order of evaluate.datasets, what it
    cost (None where it was not measured), what it was trained by (see `alike.trained_by`), the
    paths of that in which it differs by intent, and the name of its experiment."""

    label: str
    sets: list[EvaluatedSet]
    cost: dict[str, Any] | None
    training: dict[str, Any]
    changed: frozenset[str] = frozenset()
    experiment: str = ""


class Failed(NamedTuple):
    """A run without results, and why."""

    experiment: str
    reason: str


class Arm(NamedTuple):
    """A method with its changes, and its runs by seed; seed None: that of params.yaml."""

    label: str
    runs: dict[int | None, ComparedRun | Failed]

    @property
    def done(self) -> dict[int | None, ComparedRun]:
        """The runs that have results."""
        return {seed: run for seed, run in self.runs.items() if isinstance(run, ComparedRun)}

    @property
    def failed(self) -> list[Failed]:
        """The runs that have none."""
        return [run for run in self.runs.values() if isinstance(run, Failed)]


def all_done(arms: Sequence[Arm]) -> list[ComparedRun]:
    """The runs that have results, of all arms."""
    return [run for arm in arms for run in arm.done.values()]


def all_failed(arms: Sequence[Arm]) -> list[Failed]:
    """The runs that have none, of all arms."""
    return [run for arm in arms for run in arm.failed]


def other_models(evaluated: EvaluatedSet) -> list[str]:
    """Those that no run made, the same in every run."""
    return [model for model in evaluated.models if model != FINETUNED]


def columns(evaluated: EvaluatedSet) -> dict[str, str]:
    """Measures of the table and their titles: clean, each attack, worst case if there are two."""
    attacks = {attack.about.attack: attack.about.title for attack in evaluated.attacks}
    return {"clean": "clean"} | attacks | ({"robust": "worst case"} if len(attacks) > 1 else {})
