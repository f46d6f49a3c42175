"""The DVC experiments of a comparison: one for each run, made, and read from DVC's cache."""

import contextlib
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.clip.folders import MODEL, RECIPE
from pipeline.common.errors import UserError
from pipeline.common.params import PARAMS_FILE, read_params, section_of
from pipeline.common.tables import read_json
from pipeline.images.classes import EVALUATED
from pipeline.results.agreement import Agreed
from pipeline.results.evaluated import check_evaluated, read_evaluated
from pipeline.results.files import EVALUATION
from saft.compare.alike import trained_by
from saft.compare.arms import Arm, ComparedRun, Failed
from saft.compare.runs import Run
from saft.compare.specs import METHOD, SEED, Values, value_at
from saft.dvc_experiments import fetch, run

NEEDED = (str(EVALUATION), str(EVALUATED), str(MODEL), PARAMS_FILE.name)


def run_all(runs: Sequence[Run], before: Values) -> set[str]:
    """One `dvc exp run` for each, in a folder of its own, which takes the place of an earlier one.

    Returns:
        the names of those that failed; the others are kept.
    """
    return {one.experiment for one in runs if not run(one.experiment, one.changes(before))}


def read_arms(runs: Sequence[Run], failed: Iterable[str]) -> list[Arm]:
    """The outputs of all runs, those of one spec together.

    Args:
        failed: the names of experiments that did not end well.
    """
    arms: dict[str, Arm] = {}
    differing = sorted({METHOD}.union(*(_changed(one) for one in runs)))
    for one in runs:
        arm = arms.setdefault(one.spec.text, Arm(one.spec.label, {}))
        if one.experiment in failed:
            arm.runs[one.seed] = Failed(one.experiment, "dvc exp run did not end well")
            continue
        try:
            arm.runs[one.seed] = read_run(one, differing)
        except UserError as error:
            arm.runs[one.seed] = Failed(one.experiment, str(error))
    return list(arms.values())


def read_run(one: Run, differing: Sequence[str]) -> ComparedRun:
    """The outputs of an experiment, from DVC's cache.

    Args:
        differing: the paths of params.yaml in which any two runs differ by intent.

    Raises:
        UserError: there is no such experiment, it is of other params than its name says, or an
            output of it is not in the cache.
    """
    from pipeline.cost.files import read_cost  # with torch: seconds to import
    from pipeline.report.training import check_recipe

    root = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        fetch(one.experiment, NEEDED, Path(folder), "run it without --no-run")
        with contextlib.chdir(folder):
            values = read_params()
            _check_is(one, values, differing)
            evaluate, training = values["evaluate"], values["finetune"]
            check_recipe(read_json(RECIPE), training, RECIPE)
            setting = evaluate["attacks"], evaluate["epsilons_255"][0], evaluate["models"]
            sets = [
                read_evaluated(name, evaluate["texts"][0], *setting)
                for name in evaluate["datasets"]
            ]
            check_evaluated(sets, section_of(values, "evaluate", Agreed))
            cost = read_cost(MODEL / "open_clip_model.safetensors", root)
            return ComparedRun(
                one.label, sets, cost, trained_by(values), _changed(one), one.experiment
            )


def _changed(one: Run) -> frozenset[str]:
    """The paths in which the run may differ from others: its label says so."""
    return frozenset([*one.spec.changes, *([] if one.seed is None else [SEED])])


def _check_is(one: Run, values: Values, differing: Sequence[str]) -> None:
    """Raise UserError unless an experiment's params are what its name says."""
    for path in differing:
        expected, recorded = value_at(one.values, path), value_at(values, path)
        if expected != recorded:
            raise UserError(
                f"experiment {one.experiment} is another run: {path} is {recorded}, not "
                f"{expected}; run it without --no-run"
            )
