"""Pick exemplar images for a vision-language model: `python -m stages.exemplars <name>`.

Reads data/images/<describe.dataset> and data/base_model/; writes
data/exemplars/<name>.parquet: per class the images nearest to the class's mean feature.
"""

import typer
from pydantic import Field

from pipeline import clip, exemplars
from pipeline.device import be_deterministic, pick_device
from pipeline.errors import UserError
from pipeline.image_features import encode_images, nearest_to_mean, spread_over_classes
from pipeline.images import open_images
from pipeline.params import Section, read_section, read_value
from pipeline.paths import BASE_MODEL
from pipeline.tables import write_table
from stages.runner import stage


class ExemplarParams(Section):
    """One entry of section `exemplars` of params.yaml, where every key is explained."""

    images_per_class: int = Field(ge=1, le=64)
    candidates_per_class: int | None = Field(ge=1)


@stage("exemplars")
def main(name: str) -> None:
    """Write the exemplar set NAME of params.yaml: exemplars."""
    if name == exemplars.NO_EXEMPLARS:
        raise UserError(f"params.yaml: exemplars.{name}: this name stands for none; choose another")
    params = read_section(f"exemplars.{name}", ExemplarParams)
    images = open_images(read_value("describe.dataset", str))
    numbers = spread_over_classes(images, params.candidates_per_class)
    device = pick_device()
    be_deterministic()
    encoder = clip.image_encoder(clip.load(BASE_MODEL))
    clip.check_fit(encoder, images.pixels.shape[-1], encoder.visual.output_dim, images.name)
    features = encode_images(encoder, images.pixels, numbers, device)
    labels = images.labels[numbers]
    near = nearest_to_mean(features, labels, len(images.classes), params.images_per_class)
    chosen = [[(int(numbers[place]), cosine) for place, cosine in own] for own in near]
    columns = exemplars.to_columns(images.classes, chosen, images.pixels)
    write_table(exemplars.FOLDER / f"{name}.parquet", columns, exemplars.SCHEMA)
    print(f"{len(columns['png'])} exemplars for {len(images.classes)} classes")


if __name__ == "__main__":
    typer.run(main)
