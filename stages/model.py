"""Get a CLIP: `python -m stages.model <name>`.

Reads its entry of section `models`; writes data/models/<name>/: clip/, an open_clip folder with
both towers that `open_clip.create_model_and_transforms` loads, and record/about.json.
"""

from typing import Annotated, Any

import typer

from pipeline.clip import model as clip
from pipeline.clip.about import DEFENDED, FILE, About
from pipeline.clip.config import CONFIG_FILE, check_config
from pipeline.clip.folders import MODELS, clip_folder, record_folder
from pipeline.clip.model import Clip
from pipeline.clip.towers import facts
from pipeline.common import registry
from pipeline.common.atomic import replacing_directory
from pipeline.common.errors import UserError
from pipeline.common.params import read_value, validate
from pipeline.common.tables import write_json
from pipeline.models.interface import BaseModel, ModelCardOrigin
from pipeline.models.params import WHERE, ModelParams, read_model
from stages.runner import stage


@stage("model")
def main(name: Annotated[str, typer.Argument(help="an entry of section models")]) -> None:
    """Load the model from its source and write it as an open_clip folder."""
    params = read_model(name, read_value("models", dict[str, Any]))
    module = registry.load("pipeline.model_sources", params.source, f"{WHERE}.{name}.source")
    options = validate(params.options, module.Params, f"{WHERE}.{name}.options")
    try:
        built = module.build(options)
        clip.check_finite(built.model, "these weights are broken; choose others")
        check_config(built.config, CONFIG_FILE)
    except UserError as error:
        raise UserError(f"models.{name}: {error}") from None
    for note in built.notes:
        print(f"{name}: {note}", flush=True)
    with replacing_directory(MODELS / name) as folder:
        weights, record = (folder / of(name).name for of in (clip_folder, record_folder))
        weights.mkdir()
        clip.write_files(built.model, built.config, weights)
        about = _about(name, params, module.about(options), built, clip.load(weights))
        write_json(record / FILE, about.model_dump())


def _about(
    name: str, params: ModelParams, origin: ModelCardOrigin, built: BaseModel, model: Clip
) -> About:
    known = params.model_dump(include={"source", "licence", "citation"})
    known |= {"origin": origin.text, "hub_id": origin.hub_id, "notes": built.notes}
    return About(name=name, defended=DEFENDED[params.defended], **known, **facts(model))


if __name__ == "__main__":
    typer.run(main)
