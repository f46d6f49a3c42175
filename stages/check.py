"""Measurements that a sound attack cannot fail: `python -m stages.check <set> <model>`.

Reads what stages.evaluate reads, with the first text set and epsilon of section evaluate; writes
data/checks/<set>/<model>.json, which the report judges. SAFT_DEVICES shares the attacks.
"""

from typing import Annotated, Any

import typer

from pipeline.clip.device import deterministic_device
from pipeline.common import names
from pipeline.common.atomic import replacing_file
from pipeline.common.params import read_section
from pipeline.common.tables import write_json
from pipeline.cost.meter import Meter
from pipeline.evaluation import session
from pipeline.evaluation.devices import Worker, device_names, workers
from pipeline.evaluation.params import EvaluateParams
from pipeline.results.files import checks_file
from pipeline.soundness.measure import ChecksParams, measure_model
from stages.runner import stage

Set = Annotated[str, typer.Argument(help="a set of evaluate.checks.datasets")]
Model = Annotated[str, typer.Argument(help="a model of evaluate.models")]


@stage("check")
def main(dataset: Set, model: Model) -> None:
    """Attack a few images at several epsilons and with several numbers of steps."""
    names.check([dataset, model], "check")
    with workers(device_names()) as team:
        run(dataset, model, team)


def run(dataset: str, model: str, team: list[Worker]) -> None:
    """The whole stage; the attacks by `team` if there is one."""
    params = read_section("evaluate", EvaluateParams)
    checks = read_section("evaluate.checks", ChecksParams)
    texts, epsilon = params.texts[0], params.epsilons_255[0]
    keys = checks.images, "evaluate.checks.datasets", params
    inputs = session.open_inputs(model, dataset, texts, epsilon, *keys, deterministic_device())
    meter = Meter(inputs.device)
    measured: dict[str, Any] = measure_model(checks, inputs, meter, team)
    print(f"{dataset} {model}: {measured}", flush=True)
    spent = meter.stop()
    with replacing_file(checks_file(dataset, model)) as partial:
        write_json(partial, {"dataset": dataset, "model": model, "epsilon_255": epsilon} | measured)
        session.record_cost(f"check@{dataset}-{model}", inputs, spent, team, partial)


if __name__ == "__main__":
    typer.run(main)
