"""Describe every class in sentences: `python -m stages.describe`.

Reads data/classes/<describe.dataset>.parquet; writes data/descriptions/descriptions.parquet
and provenance.json beside it (how the sentences were made; nothing downstream reads it but
the report).
"""

import typer

from pipeline.atomic import replacing_directory
from pipeline.describe import DescribeParams
from pipeline.descriptions import DESCRIPTIONS, SCHEMA, in_class_order
from pipeline.images import read_classes
from pipeline.options import chosen
from pipeline.params import read_section
from pipeline.tables import write_json, write_table
from stages.runner import stage


@stage("describe")
def main() -> None:
    """Ask the chosen backend for the descriptions of every class of the training set."""
    params = read_section("describe", DescribeParams)
    module, options = chosen(
        "pipeline.descriptions", "describe", "backend", params.backend, params.options
    )
    classes = read_classes(params.dataset)
    answers = module.describe(classes, options, params.seed)
    columns = in_class_order(answers, classes)
    with replacing_directory(DESCRIPTIONS.parent) as folder:
        write_table(folder / DESCRIPTIONS.name, columns, SCHEMA)
        provenance = {"backend": params.backend, "sentences": len(columns["text"])}
        write_json(folder / "provenance.json", provenance | answers.provenance)
    print(f"{len(columns['text'])} sentences for {len(classes)} classes ({params.backend})")


if __name__ == "__main__":
    typer.run(main)
