"""Encode all text there will ever be: `python -m stages.embed`.

Reads data/filtered/descriptions.parquet, the class tables of `evaluate.datasets` and
data/base_model/; writes data/embeddings/descriptions.parquet (the training ensemble) and
data/embeddings/classes/<set>.parquet (zero-shot classifiers).
"""

import typer

from pipeline import clip, embed
from pipeline.atomic import replacing_directory
from pipeline.device import be_deterministic, pick_device
from pipeline.filtered import SCHEMA
from pipeline.images import read_classes
from pipeline.params import read_section, read_value
from pipeline.paths import BASE_MODEL, FILTERED
from pipeline.tables import read_table, write_table
from stages.runner import stage


@stage("embed")
def main() -> None:
    """Write the text embeddings of the kept descriptions and of every evaluation class."""
    params = read_section("embed", embed.EmbedParams)
    datasets = read_value("evaluate.datasets", list[str])
    rows = [row for row in read_table(FILTERED, SCHEMA).to_pylist() if row["kept"]]
    classes = {name: read_classes(name) for name in datasets}
    templates = {name: embed.templates_of(name, params) for name in classes}
    device = pick_device()
    be_deterministic()
    model = clip.load(BASE_MODEL)

    def encode(texts: list[str]):
        return clip.encode_texts(model, texts, device).numpy()

    with replacing_directory(embed.FOLDER) as folder:
        columns, schema = embed.description_columns(rows, encode)
        write_table(folder / "descriptions.parquet", columns, schema)
        for name, entries in classes.items():
            columns, schema = embed.class_columns(entries, templates[name], encode)
            write_table(folder / "classes" / f"{name}.parquet", columns, schema)
    print(f"{len(rows)} descriptions, classifiers for {len(classes)} sets")


if __name__ == "__main__":
    typer.run(main)
