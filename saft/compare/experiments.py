"""The DVC experiments of a comparison: one for each method, run, and read from DVC's cache."""

import contextlib
import tempfile
from pathlib import Path
from typing import NamedTuple

from pipeline.clip.folders import MODEL, RECIPE
from pipeline.common import registry
from pipeline.common.errors import UserError
from pipeline.common.params import (
    PARAMS_FILE,
    Section,
    read_params,
    read_value,
    section_of,
    validate,
)
from pipeline.common.tables import read_json
from pipeline.images.classes import EVALUATED
from pipeline.results.agreement import Agreed
from pipeline.results.evaluated import check_evaluated, read_evaluated
from pipeline.results.files import EVALUATION
from saft.compare.table import ComparedRun
from saft.dvc_experiments import fetch, run

# what the table does not show and would take half the evaluation's time
LEFT_OUT = ("evaluate.last_images=0", "evaluate.checks.datasets=[]")
# keys of section `finetune` that say what a method is, or nothing of what is trained
DIFFERS = ("method", "options", "checkpoint_seconds")
NEEDED = (str(EVALUATION), str(EVALUATED), str(MODEL), PARAMS_FILE.name)


class _Trained(Section, extra="ignore"):
    title: str


class Spec(NamedTuple):
    """A method and the options of it that differ from params.yaml."""

    method: str
    options: dict[str, str]

    @property
    def experiment(self) -> str:
        """Its name among DVC's experiments."""
        parts = [self.method, *(f"{k}-{v}" for k, v in self.options.items())]
        return "compare-" + "-".join(parts).replace("_", "-").replace(".", "-")


def default_methods() -> list[str]:
    """All registered methods, SAFT first."""
    return sorted(registry.names("pipeline.methods"), key=lambda name: (name != "saft", name))


def parse(text: str) -> Spec:
    """ "saft:attention_norm=channel" -> Spec.

    Raises:
        UserError: no such method, or a change that is not KEY=VALUE of params.yaml.
    """
    method, _, changes = text.partition(":")
    registry.load("pipeline.methods", method, "saft compare")
    pairs = [change.partition("=") for change in changes.split(",") if change]
    options = {key: value for key, _, value in pairs}
    known = read_value(f"finetune.options.{method}", dict)
    for key, sign, _ in pairs:
        if not sign or key not in known:
            raise UserError(
                f"'{text}': {key} is no option of {method}; "
                f"{PARAMS_FILE}: finetune.options.{method} has {', '.join(known)}"
            )
    return Spec(method, options)


def run_experiment(spec: Spec) -> None:
    """One `dvc exp run` in a folder of its own, which takes the place of an earlier one.

    Raises:
        UserError: it failed.
    """
    one_epsilon = f"evaluate.epsilons_255=[{first_epsilon()}]"
    changes = [*LEFT_OUT, one_epsilon, f"finetune.method={spec.method}"]
    changes += [f"finetune.options.{spec.method}.{k}={v}" for k, v in spec.options.items()]
    if not run(spec.experiment, changes):
        raise UserError(f"{spec.experiment} failed, see above; the others are kept")


def first_epsilon() -> int | float:
    """The radius in 1/255 that the table is about, as params.yaml writes it."""
    return read_value("evaluate.epsilons_255", list[int | float])[0]


def read_run(spec: Spec) -> ComparedRun:
    """The outputs of an experiment, from DVC's cache.

    Raises:
        UserError: there is no such experiment, or an output of it is not in the cache.
    """
    from pipeline.cost.files import read_cost  # with torch: seconds to import
    from pipeline.report.training import check_recipe

    root = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        fetch(spec.experiment, NEEDED, Path(folder), "run it without --no-run")
        with contextlib.chdir(folder):
            values = read_params()
            evaluate, training = values["evaluate"], values["finetune"]
            check_recipe(read_json(RECIPE), training, RECIPE)
            setting = evaluate["attacks"], evaluate["epsilons_255"][0], evaluate["models"]
            sets = [
                read_evaluated(name, evaluate["texts"][0], *setting)
                for name in evaluate["datasets"]
            ]
            check_evaluated(sets, section_of(values, "evaluate", Agreed))
            alike = {key: training[key] for key in training if key not in DIFFERS}
            cost = read_cost(MODEL / "open_clip_model.safetensors", root)
            return ComparedRun(_label(spec), sets, cost, alike)


def _label(spec: Spec) -> str:
    """The method's title, with the options that were changed."""
    title = validate(read_json(RECIPE), _Trained, str(RECIPE)).title
    options = ", ".join(f"{k} = {v}" for k, v in spec.options.items())
    return f"{title} ({options})" if options else title
