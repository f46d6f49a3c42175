"""Encode all text there will ever be: `python -m stages.embed`.

Reads data/filtered/descriptions.parquet, class tables and data/base_model/; writes
data/embeddings/: descriptions.parquet (the training ensemble), texts/<text set>/<set>.parquet
(zero-shot classifiers) and attacker/<text set>/<set>.parquet (what the attacker sees). Being
quick and before the training, it also checks the names that later stages load plug-ins by.
"""

from pathlib import Path

import typer

from pipeline.clip import model as clip
from pipeline.clip.device import be_deterministic, pick_device
from pipeline.clip.folders import BASE_MODEL
from pipeline.common import registry
from pipeline.common.atomic import replacing_directory
from pipeline.common.params import PARAMS_FILE, read_section, read_value
from pipeline.common.tables import read_table, write_table
from pipeline.filtering.table import FILTERED, SCHEMA
from pipeline.images.classes import read_classes, read_own_templates
from pipeline.zeroshot import text_sets as embed
from stages.runner import stage


@stage("embed")
def main() -> None:
    """Write the text embeddings of the kept descriptions and of every text set in use."""
    check_names()
    params = read_section("embed", embed.EmbedParams)
    rows = [row for row in read_table(FILTERED, SCHEMA).to_pylist() if row["kept"]]
    pairs = text_sets()
    classes = {dataset: read_classes(dataset) for _, dataset in pairs}
    templates = {
        key: embed.templates_of(*key, params, read_own_templates(key[1]))
        for key in pairs
        if key[0] != embed.DESCRIPTIONS
    }
    device = pick_device()
    be_deterministic()
    model = clip.load(BASE_MODEL)

    def encode(texts: list[str]):
        return clip.encode_texts(model, texts, device).numpy()

    described = embed.description_columns(rows, encode)
    files = {
        (name, dataset): embed.template_columns(
            name, classes[dataset], templates[name, dataset], encode
        )
        if name != embed.DESCRIPTIONS
        else embed.described_columns(dataset, classes[dataset], described)
        for name, dataset in pairs
    }
    write(files, described)
    print(f"{len(rows)} descriptions, {len(files)} classifiers for {len(classes)} sets")


def text_sets() -> list[tuple[str, str]]:
    """Every (text set, image set) that finetune, evaluate or check reads."""
    return embed.text_sets_in_use(
        trained=read_value("finetune.dataset", str),
        datasets=read_value("evaluate.datasets", list[str]),
        texts=read_value("evaluate.texts", list[str]),
        attacker=read_value("evaluate.attacker", str),
        checked=read_value("evaluate.checks.datasets", list[str]),
        check_texts=read_value("evaluate.checks.texts", str),
    )


def write(files: dict[tuple[str, str], embed.Columns], described: embed.Columns) -> None:
    """Write data/embeddings/ as a whole."""
    attacker = read_value("evaluate.attacker", str)
    with replacing_directory(embed.FOLDER) as folder:
        write_table(folder / "descriptions.parquet", *described)
        for (name, dataset), columns in files.items():
            seen = columns if attacker == embed.SAME else files.get((attacker, dataset))
            file = Path(name) / f"{dataset}.parquet"
            write_table(folder / "texts" / file, *columns)
            if seen:
                write_table(folder / "attacker" / file, *seen)


def check_names() -> None:
    """Method and attacks.

    Raises:
        UserError: one does not exist; the key and those there are are named.
    """
    method = read_value("finetune.method", str)
    registry.check("pipeline.methods", method, f"{PARAMS_FILE}: finetune.method")
    for attack in read_value("evaluate.attacks", list[str]):
        registry.check("pipeline.attacks", attack, f"{PARAMS_FILE}: evaluate.attacks")


if __name__ == "__main__":
    typer.run(main)
