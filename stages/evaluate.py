"""Accuracy on one set under one attack: `python -m stages.evaluate <set> <attack> <text set>`.

Reads data/images/, data/embeddings/{texts,attacker}/<text set>/ and both models; writes
data/evaluation/<set>/<text set>/<attack>/. SAFT_DEVICES, --shard and --merge share the attack.
"""

from typing import Annotated

import typer

from pipeline.clip.device import deterministic_device
from pipeline.common import scratch
from pipeline.common.options import load_plugin
from pipeline.common.params import read_section, read_value
from pipeline.cost.meter import Meter
from pipeline.evaluation import files, parts, session
from pipeline.evaluation.devices import Worker, device_names, workers
from pipeline.evaluation.evaluate import EvaluateParams
from pipeline.results.files import EVALUATION
from stages.runner import stage

Name = Annotated[str, typer.Argument(help="of evaluate.datasets, evaluate.attacks, evaluate.texts")]
Part = Annotated[str | None, typer.Option(help="i/n: attack one n-th of the images")]
Parts = Annotated[int | None, typer.Option(min=1, help="n: write what n shards made")]


@stage("evaluate")
def main(dataset: Name, attack: Name, texts: Name, shard: Part = None, merge: Parts = None) -> None:
    """Attack the base and the fine-tuned model on the same images with the same starts."""
    cut = parts.read_cut(shard, merge)
    with workers(device_names()) as team:
        run(dataset, attack, texts, team, cut)


def run(dataset: str, name: str, texts: str, team: list[Worker], cut: parts.Cut) -> None:
    """The whole stage; the attacks by `team` if there is one, or by the shards of `cut`."""
    params = read_section("evaluate", EvaluateParams)
    module, options = load_plugin("pipeline.attacks", "evaluate", "attacks", name, params.options)
    keys = params.images, "evaluate.datasets", params
    inputs = session.open_inputs(dataset, texts, *keys, deterministic_device())
    folder = parts.folder_of(dataset, texts, name)
    origins = session.origins(inputs, options, texts) if cut else {}
    attack = session.Attack(module, options, team, cut, folder, origins)
    meter = Meter(inputs.device)
    models = session.attack_models(attack, inputs, meter)
    if isinstance(cut, parts.Shard):
        print(f"{folder}: part {cut.part} of {cut.parts}", flush=True)
        return
    spent, output = meter.stop(), EVALUATION / dataset / texts / name
    about = files.threat_model(inputs, read_value("finetune.dataset", str))
    about |= files.attack_metadata(attack, name, texts, inputs, models)
    files.write_verdicts(output, about, models, inputs)
    if cut:  # what the shards cost is not known here
        scratch.clear(folder)
    else:
        session.record_cost(f"evaluate@{dataset}-{name}-{texts}", inputs, spent, team, output)


if __name__ == "__main__":
    typer.run(main)
