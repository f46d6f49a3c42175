"""Pick exemplar images for a vision-language model: `python -m stages.exemplars <name>`.

Reads data/images/<describe.dataset> and data/models/base/clip/; writes
data/exemplars/<name>.parquet: per class the images nearest to the class's mean feature.
"""

import typer

from pipeline.clip import model as clip
from pipeline.clip.device import deterministic_device
from pipeline.clip.folders import BASE_MODEL
from pipeline.common import names
from pipeline.common.errors import UserError
from pipeline.common.params import read_section, read_value
from pipeline.common.tables import write_table
from pipeline.descriptions import exemplars
from pipeline.filtering.image_features import nearest_to_mean, set_features
from stages.runner import stage


@stage("exemplars")
def main(name: str) -> None:
    """Write the exemplar set NAME of params.yaml: exemplars."""
    names.check([name], "exemplars")
    if name == exemplars.NO_EXEMPLARS:
        raise UserError(f"params.yaml: exemplars.{name}: this name stands for none; choose another")
    params = read_section(f"exemplars.{name}", exemplars.ExemplarParams)
    device = deterministic_device()
    dataset = read_value("describe.dataset", str)
    features = set_features(clip.load(BASE_MODEL), dataset, params.candidates_per_class, device)
    classes = features.images.classes
    count = params.images_per_class
    nearest = nearest_to_mean(features.features, features.labels, len(classes), count)
    chosen = [[(int(features.numbers[i]), cosine) for i, cosine in rows] for rows in nearest]
    columns = exemplars.to_columns(classes, chosen, features.images.pixels)
    path = exemplars.FOLDER / f"{name}.parquet"
    write_table(path, columns, exemplars.SCHEMA, exemplars.exemplar_faults)
    print(f"{len(columns['png'])} exemplars for {len(classes)} classes")


if __name__ == "__main__":
    typer.run(main)
