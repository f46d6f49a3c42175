"""Fill the templates of a text set: `python -m stages.texts <text set>`.

Reads its entry of `embed.texts` and the class tables; writes data/texts/<text set>/<set>.parquet
for every image set that is evaluated or checked.
"""

from typing import Annotated

import typer

from pipeline.common import names
from pipeline.common.atomic import replacing_directory
from pipeline.common.options import check_defined
from pipeline.common.params import read_section, read_value
from pipeline.embeddings.templates import EmbedParams, class_folders, read_filled
from pipeline.results.same_texts import say_same_texts
from pipeline.zeroshot.text_tables import TEXTS, write_texts
from stages.runner import stage


@stage("texts")
def main(name: Annotated[str, typer.Argument(help="a text set of embed.texts")]) -> None:
    """Write the texts of every class of every image set in use."""
    names.check([name], "embed.texts")
    sets = read_section("embed", EmbedParams).texts
    check_defined([name], sets, "embed.texts")
    folders = class_folders(
        read_value("evaluate.datasets", list[str]),
        read_value("evaluate.checks.datasets", list[str]),
    )
    names.check(folders, "evaluate")
    tables = {
        dataset: read_filled(name, dataset, sets[name], folder)
        for dataset, folder in folders.items()
    }
    for dataset, table in tables.items():
        say_same_texts(dataset, name, table.class_ids, table.texts)
    with replacing_directory(TEXTS / name) as folder:
        for dataset, table in tables.items():
            write_texts(folder / f"{dataset}.parquet", table)
    print(f"{name}: {sum(len(t.texts) for t in tables.values())} texts for {len(tables)} sets")


if __name__ == "__main__":
    typer.run(main)
