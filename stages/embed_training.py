"""Encode what fine-tuning sees, by the base model: `python -m stages.embed_training`.

Reads the kept descriptions, `embed.texts.template`, the class table of the training set and
data/models/base/clip/; writes data/training_embeddings/.
"""

import typer

from pipeline.clip import model as clip
from pipeline.clip.device import deterministic_device
from pipeline.clip.folders import BASE_MODEL
from pipeline.clip.text_encoding import OnceEncoder
from pipeline.common.atomic import replacing_directory
from pipeline.common.params import read_section, read_value
from pipeline.embeddings.encoded import write_encoded
from pipeline.embeddings.templates import EmbedParams, read_filled
from pipeline.images.classes import CLASSES
from pipeline.results.same_texts import say_same_texts
from pipeline.zeroshot.text_sets import TRAINING, training_files
from pipeline.zeroshot.text_tables import (
    DESCRIPTIONS,
    KEPT,
    TEMPLATE,
    check_text_set,
    read_table_of,
)
from stages.runner import stage


@stage("embed_training")
def main() -> None:
    """Write the embeddings of the kept descriptions and of the template."""
    dataset, sets = read_value("finetune.dataset", str), read_section("embed", EmbedParams).texts
    tables = read_table_of(KEPT), read_filled(TEMPLATE, dataset, sets[TEMPLATE], CLASSES)
    check_text_set(KEPT, tables[0].name, DESCRIPTIONS)
    for table in tables:
        say_same_texts(dataset, table.name, table.class_ids, table.texts)
    encoder = OnceEncoder(clip.load(BASE_MODEL), deterministic_device())
    with replacing_directory(TRAINING) as folder:
        for path, table in zip(training_files(), tables, strict=True):
            write_encoded(folder / path.name, table, encoder)
    print(f"{len(tables[0].texts)} descriptions, {len(tables[1].texts)} texts of the template")


if __name__ == "__main__":
    typer.run(main)
