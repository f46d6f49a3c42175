"""What is told of the fine-tuned model: `python -m stages.record`.

Reads data/models/finetuned/clip/, the filtered descriptions, how they were written, and the class
table of the training set; writes data/models/finetuned/record/: about.json, recipe.json,
training.csv, descriptions.parquet, provenance.json and classes.parquet.
"""

import shutil
from pathlib import Path

import typer

from pipeline.clip import model as clip
from pipeline.clip.about import FILE, About, finetuned_defended, finetuned_origin, read_recipe
from pipeline.clip.folders import FINETUNED, MODEL, RECIPE, TRAINED_CLASSES, record_folder
from pipeline.clip.towers import facts
from pipeline.common.atomic import replacing_directory
from pipeline.common.errors import UserError
from pipeline.common.tables import write_json
from pipeline.images.classes import CLASSES, read_classes
from stages.runner import stage

FILES = (
    RECIPE,
    MODEL / "training.csv",
    Path("data/filtered/descriptions.parquet"),
    Path("data/descriptions/provenance.json"),
)


@stage("record")
def main() -> None:
    """Collect the record of the training beside the weights."""
    recipe = read_recipe(RECIPE)
    read_classes(recipe["dataset"])
    for path in FILES:
        if not path.is_file():
            raise UserError(f"{path}: not found; run `dvc repro` first")
    about = About(
        name=FINETUNED,
        source="finetune",
        origin=finetuned_origin(recipe),
        hub_id=None,
        defended=finetuned_defended(recipe),
        licence=None,
        citation=None,
        notes=[],
        **facts(clip.load(MODEL)),
    )
    with replacing_directory(record_folder(FINETUNED)) as folder:
        for path in FILES:
            shutil.copyfile(path, folder / path.name)
        trained = CLASSES / f"{recipe['dataset']}.parquet"
        shutil.copyfile(trained, folder / f"{TRAINED_CLASSES}.parquet")
        write_json(folder / FILE, about.model_dump())


if __name__ == "__main__":
    typer.run(main)
