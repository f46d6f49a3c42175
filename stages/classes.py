"""The class table of an evaluated image set: `python -m stages.classes <set>`.

Copies data/classes/<set>.parquet to data/evaluated_classes/, so that what depends on the tables of
all evaluated sets depends on no other set.
"""

import shutil
from typing import Annotated

import typer

from pipeline.common.atomic import replacing_file
from pipeline.images.classes import CLASSES, EVALUATED
from stages.runner import stage


@stage("classes")
def main(dataset: Annotated[str, typer.Argument(help="a set of evaluate.datasets")]) -> None:
    """Copy the class table of a set."""
    name = f"{dataset}.parquet"
    with replacing_file(EVALUATED / name) as partial:
        shutil.copyfile(CLASSES / name, partial)


if __name__ == "__main__":
    typer.run(main)
