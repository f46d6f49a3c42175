"""Encode what fine-tuning sees, by the base model: `python -m stages.embed_training`.

Reads the kept descriptions, text set `template` and those of finetune.texts, the class table of
the training set, finetune.captions and data/models/base/clip/; writes data/training_embeddings/.
"""

from pathlib import Path

import typer

from pipeline.clip import model as clip
from pipeline.clip.device import deterministic_device
from pipeline.clip.folders import BASE_MODEL
from pipeline.clip.text_encoding import OnceEncoder
from pipeline.common.atomic import replacing_directory
from pipeline.common.options import check_defined
from pipeline.common.params import read_section, read_value
from pipeline.embeddings.captions import read_captions, write_captions
from pipeline.embeddings.encoded import write_encoded
from pipeline.embeddings.templates import EmbedParams, read_filled
from pipeline.embeddings.training_captions import FILE
from pipeline.images.classes import CLASSES, read_classes
from pipeline.results.same_texts import say_same_texts
from pipeline.zeroshot.text_sets import TRAINING, training_file
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
    """Write the embeddings of the kept descriptions, the template, finetune.texts and captions."""
    dataset, sets = read_value("finetune.dataset", str), read_section("embed", EmbedParams).texts
    names = [TEMPLATE, *read_value("finetune.texts", list[str])]
    check_defined(names, sets, "finetune.texts")
    tables = {DESCRIPTIONS: read_table_of(KEPT)}
    check_text_set(KEPT, tables[DESCRIPTIONS].name, DESCRIPTIONS)
    tables |= {name: read_filled(name, dataset, sets[name], CLASSES) for name in names}
    for table in tables.values():
        say_same_texts(dataset, table.name, table.class_ids, table.texts)
    file = Path(read_value("finetune.captions", str))
    captions = read_captions(file, read_classes(dataset))
    encoder = OnceEncoder(clip.load(BASE_MODEL), deterministic_device())
    with replacing_directory(TRAINING) as folder:
        for name, table in tables.items():
            write_encoded(folder / training_file(name).name, table, encoder)
        counts = {name: len(table.texts) for name, table in tables.items()}
        if captions is not None:
            counts["captions"] = write_captions(folder / FILE, captions, encoder)
    print(", ".join(f"{name}: {count} texts" for name, count in counts.items()))


if __name__ == "__main__":
    typer.run(main)
