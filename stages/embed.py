"""Encode descriptions and templates into text embeddings: `python -m stages.embed`.

Reads data/filtered/, class tables and data/base_model/; writes data/embeddings/ (see
`pipeline.zeroshot.text_sets`). It also checks the names that later stages load plug-ins by.
"""

import typer

from pipeline.clip import model as clip
from pipeline.clip.device import deterministic_device
from pipeline.clip.folders import BASE_MODEL
from pipeline.clip.text_encoding import encode_texts
from pipeline.common.options import check_names
from pipeline.common.params import read_section, read_value
from pipeline.common.tables import read_table
from pipeline.embeddings import tables
from pipeline.filtering.table import FILTERED, SCHEMA
from pipeline.images.classes import read_classes, read_own_templates
from pipeline.zeroshot.text_sets import DESCRIPTIONS, FOLDER
from stages.runner import stage


@stage("embed")
def main() -> None:
    """Write the text embeddings of the kept descriptions and of every text set in use."""
    check_names(read_value("finetune.method", str), read_value("evaluate.attacks", list[str]))
    params = read_section("embed", tables.EmbedParams)
    rows = [row for row in read_table(FILTERED, SCHEMA).to_pylist() if row["kept"]]
    keys = text_sets()
    classes = {dataset: read_classes(dataset) for _, dataset in keys}
    templates = {
        key: tables.templates_of(*key, params, read_own_templates(key[1]))
        for key in keys
        if key[0] != DESCRIPTIONS
    }
    device, model = deterministic_device(), clip.load(BASE_MODEL)

    def encode(texts: list[str]):
        return encode_texts(model, texts, device).numpy()

    described = tables.description_columns(rows, encode)
    files = tables.text_set_columns(classes, templates, described, keys, encode)
    tables.write_embeddings(FOLDER, files, described, read_value("evaluate.attacker", str))
    print(f"{len(rows)} descriptions, {len(files)} classifiers for {len(classes)} sets")


def text_sets() -> list[tables.Key]:
    """Every (text set, image set) that finetune, evaluate or check reads."""
    return tables.text_sets_in_use(
        trained=read_value("finetune.dataset", str),
        datasets=read_value("evaluate.datasets", list[str]),
        texts=read_value("evaluate.texts", list[str]),
        attacker=read_value("evaluate.attacker", str),
        checked=read_value("evaluate.checks.datasets", list[str]),
        check_texts=read_value("evaluate.checks.texts", str),
    )


if __name__ == "__main__":
    typer.run(main)
