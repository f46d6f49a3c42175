"""Train a small CLIP from scratch: `python -m stages.pretrain <name>`.

Reads its entry of section `pretrain`, a packed image set and a file of captions; writes
data/inputs/models/pretrain/<name>/: an open_clip folder, pretraining.csv and origin.json.
"""

import csv
from typing import Annotated

import typer

from pipeline.clip import model as clip
from pipeline.clip.device import deterministic_device
from pipeline.common import names
from pipeline.common.atomic import replacing_directory
from pipeline.common.params import read_section
from pipeline.common.tables import write_json
from pipeline.models.pretraining import FOLDER, ORIGIN, PretrainParams, origin, pretrain
from stages.runner import stage


@stage("pretrain")
def main(name: Annotated[str, typer.Argument(help="an entry of section pretrain")]) -> None:
    """Train the model and write it as an open_clip folder."""
    names.check([name], "pretrain")
    params = read_section(f"pretrain.{name}", PretrainParams)
    trained = pretrain(name, params, deterministic_device())
    clip.check_finite(trained.model, f"pretrain.{name}: lower its learning_rate")
    with replacing_directory(FOLDER / name) as folder:
        clip.write_files(trained.model, trained.config, folder)
        write_json(folder / ORIGIN, {"origin": origin(params)})
        with (folder / "pretraining.csv").open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["step", "loss"])
            writer.writerows((step, f"{loss:.6f}") for step, loss in trained.log)


if __name__ == "__main__":
    typer.run(main)
