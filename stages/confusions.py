"""Find the classes whose texts base confuses: `python -m stages.confusions <name>`.

Reads data/classes/<describe.dataset>.parquet and data/models/base/clip/; writes
data/confusions/<name>.parquet: per class the classes whose filled templates are nearest.
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
from pipeline.filtering.confusable import most_confused
from pipeline.images.classes import fill_templates, read_classes
from stages.runner import stage


@stage("confusions")
def main(name: str) -> None:
    """Write the confusable classes NAME of params.yaml: confusions.text."""
    names.check([name], "confusions")
    path = confusions.output_file(name)
    params = read_section(f"confusions.text.{name}", confusions.TextConfusionParams)
    classes = read_classes(read_value("describe.dataset", str))
    texts = [text for texts in fill_templates([params.template], classes) for text in texts]
    features = encode_texts(clip.load(BASE_MODEL), texts, deterministic_device()).numpy()
    shown = [class_entry.name for class_entry in classes]
    confused = most_confused(features @ features.T, shown, params.classes_per_class)
    columns = confusions.to_columns(classes, confused)
    write_table(path, columns, confusions.SCHEMA, confusions.confusion_faults)
    print(f"{len(columns['rank'])} confusable classes for {len(classes)} classes, by text")


if __name__ == "__main__":
    typer.run(main)
