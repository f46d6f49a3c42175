"""Measurements that a sound attack cannot fail: `python -m stages.check <set>`.

Reads what stages.evaluate reads; writes data/checks/<set>.json, which the report judges.
SAFT_DEVICES shares the attacks among devices.
"""

from typing import Annotated, Any

import typer

from pipeline.clip.device import deterministic_device
from pipeline.clip.folders import MODELS
from pipeline.common.params import read_section
from pipeline.common.tables import write_json
from pipeline.cost.meter import Meter
from pipeline.evaluation import session
from pipeline.evaluation.devices import Worker, device_names, workers
from pipeline.evaluation.evaluate import EvaluateParams
from pipeline.results.files import CHECKS
from pipeline.soundness.measure import ChecksParams, measure_model
from stages.runner import stage


@stage("check")
def main(dataset: Annotated[str, typer.Argument(help="a set of evaluate.checks.datasets")]) -> None:
    """Attack a few images at several epsilons and with several numbers of steps."""
    with workers(device_names()) as team:
        run(dataset, team)


def run(dataset: str, team: list[Worker]) -> None:
    """The whole stage; the attacks by `team` if there is one."""
    params = read_section("evaluate", EvaluateParams)
    checks = read_section("evaluate.checks", ChecksParams)
    keys = checks.images, "evaluate.checks.datasets", params
    inputs = session.open_inputs(dataset, checks.texts, *keys, deterministic_device())
    measured: dict[str, Any] = {"dataset": dataset, "epsilon_255": params.epsilon_255}
    meter = Meter(inputs.device)
    for name, folder in MODELS.items():
        measured[name] = measure_model(folder, checks, inputs, meter, team)
        print(f"{dataset} {name}: {measured[name]}", flush=True)
    spent, output = meter.stop(), CHECKS / f"{dataset}.json"
    write_json(output, measured)
    session.record_cost(f"check@{dataset}", inputs, spent, team, output)


if __name__ == "__main__":
    typer.run(main)
