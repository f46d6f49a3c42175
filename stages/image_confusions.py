"""Find the classes whose images base confuses: `python -m stages.image_confusions <name>`.

Reads data/images/<describe.dataset>, its class table and data/models/base/clip/; writes
data/confusions/<name>.parquet: per class the classes of the highest mean zero-shot probability
on its images.
"""

import typer

from pipeline.clip import model as clip
from pipeline.clip.device import deterministic_device
from pipeline.clip.folders import BASE_MODEL
from pipeline.clip.text_encoding import encode_texts
from pipeline.common import names
from pipeline.common.params import read_section, read_value
from pipeline.common.tables import write_table
from pipeline.descriptions import confusions
from pipeline.filtering.confusable import mean_probabilities, most_confused
from pipeline.filtering.image_features import set_features
from pipeline.images.classes import fill_templates
from stages.runner import stage


@stage("image_confusions")
def main(name: str) -> None:
    """Write the confusable classes NAME of params.yaml: confusions.images."""
    names.check([name], "image_confusions")
    path = confusions.output_file(name)
    params = read_section(f"confusions.images.{name}", confusions.ImageConfusionParams)
    device, model = deterministic_device(), clip.load(BASE_MODEL)
    dataset = read_value("describe.dataset", str)
    features = set_features(model, dataset, params.images_per_class, device)
    classes = features.images.classes
    texts = [text for texts in fill_templates([params.template], classes) for text in texts]
    probabilities = mean_probabilities(
        features.features, features.labels, encode_texts(model, texts, device),
        clip.logit_scale(model),
    )  # fmt: skip
    shown = [class_entry.name for class_entry in classes]
    confused = most_confused(probabilities, shown, params.classes_per_class)
    columns = confusions.to_columns(classes, confused)
    write_table(path, columns, confusions.SCHEMA, confusions.confusion_faults)
    print(f"{len(columns['rank'])} confusable classes for {len(classes)} classes, by images")


if __name__ == "__main__":
    typer.run(main)
