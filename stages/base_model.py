"""Get the base CLIP: `python -m stages.base_model`.

Reads params.yaml `base_model` (and the packed set that `pretrain` learns from); writes
data/base_model/, an open_clip folder that `open_clip.create_model_and_transforms` loads.
"""

import csv

import typer

from pipeline.clip import model as clip
from pipeline.clip.device import deterministic_device
from pipeline.clip.folders import BASE_MODEL
from pipeline.common.atomic import replacing_directory
from pipeline.common.options import load_plugin
from pipeline.common.params import read_section
from pipeline.models.params import BaseModelParams
from stages.runner import stage


@stage("base_model")
def main() -> None:
    """Build or fetch the base model and write it as an open_clip folder."""
    params = read_section("base_model", BaseModelParams)
    module, options = load_plugin(
        "pipeline.model_sources", "base_model", "source", params.source, params.options
    )
    device = deterministic_device()
    built = module.build(options, params.dataset, params.seed, device)
    clip.check_finite(built.model, "base_model: these weights are broken; choose others")
    with replacing_directory(BASE_MODEL) as folder:
        clip.write_files(built.model, built.config, folder)
        if built.log:
            with (folder / "pretraining.csv").open("w", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(["step", "loss"])
                writer.writerows((step, f"{loss:.6f}") for step, loss in built.log)


if __name__ == "__main__":
    typer.run(main)
