"""Accuracy of a model on one set under one attack:
`python -m stages.evaluate <set> <attack> <text set> <epsilon> <model>`.

Reads the images, the model and its text embeddings; writes data/evaluation/<set>/<text set>/
<attack>/<epsilon>/<model>/. SAFT_DEVICES, --shard and --merge share the attack.
"""

from typing import Annotated

import typer

from pipeline.clip.device import deterministic_device
from pipeline.common import names
from pipeline.common.options import load_plugin
from pipeline.common.params import read_section
from pipeline.cost.meter import Meter
from pipeline.evaluation import files, parts, session
from pipeline.evaluation.devices import Worker, device_names, workers
from pipeline.evaluation.params import EvaluateParams
from pipeline.results.files import Evaluation, evaluation_folder
from stages.runner import stage

Name = Annotated[str, typer.Argument(help="of evaluate.datasets, .attacks, .texts, .models")]
Radius = Annotated[str, typer.Argument(help="of evaluate.epsilons_255, as written there")]
Part = Annotated[str | None, typer.Option(help="i/n: attack one n-th of the images")]
Parts = Annotated[int | None, typer.Option(min=1, help="n: write what n shards made")]


@stage("evaluate")
def main(
    dataset: Name, attack: Name, texts: Name, epsilon: Radius, model: Name,
    shard: Part = None, merge: Parts = None,
) -> None:  # fmt: skip
    """Attack the model; every model is attacked on the same images from the same starts."""
    names.check([dataset, attack, texts, model], "evaluate")
    cut, params = parts.read_cut(shard, merge), read_section("evaluate", EvaluateParams)
    key = dataset, texts, attack, params.epsilon_of(epsilon), model
    with workers(device_names()) as team:
        run(key, params, team, cut)


def run(key: Evaluation, params: EvaluateParams, team: list[Worker], cut: parts.Cut) -> None:
    """The whole stage; the attack by `team` if there is one, or by the shards of `cut`."""
    dataset, texts, name, epsilon, model = key
    plugin = load_plugin("pipeline.attacks", "evaluate", "attacks", name, params.options)
    keys = params.images, "evaluate.datasets", params
    inputs = session.open_inputs(model, dataset, texts, epsilon, *keys, deterministic_device())
    output = evaluation_folder(*key)
    attack, meter = session.plan(name, plugin, inputs, team, cut, output), Meter(inputs.device)
    attempt = session.attack_model(attack, inputs, meter)
    if isinstance(cut, parts.Shard):
        print(f"{attack.folder}: part {cut.part} of {cut.parts}", flush=True)
        return
    spent, attacked = meter.stop(), files.attacked_model(attack, inputs, *attempt)
    files.write_verdicts(output, attack, attacked, inputs, spent)
    session.clear_parts(attack)


if __name__ == "__main__":
    typer.run(main)
