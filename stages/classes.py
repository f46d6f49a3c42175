"""The class table of an evaluated image set: `python -m stages.classes <set>`.

Copies data/classes/<set>.parquet to data/evaluated_classes/, so that what depends on the tables of
all evaluated sets depends on no other set.
"""

from typing import Annotated

import typer

from pipeline.common import names
from pipeline.images.classes import EVALUATED, copy_classes
from stages.runner import stage


@stage("classes")
def main(dataset: Annotated[str, typer.Argument(help="a set of evaluate.datasets")]) -> None:
    """Copy the class table of a set."""
    names.check([dataset], "classes")
    copy_classes(dataset, EVALUATED)


if __name__ == "__main__":
    typer.run(main)
