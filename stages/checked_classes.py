"""The class table of an image set that is checked: `python -m stages.checked_classes <set>`.

Copies data/classes/<set>.parquet to data/checked_classes/, as `stages.classes` does for the sets
that are evaluated: the two lists of params.yaml need not agree.
"""

from typing import Annotated

import typer

from pipeline.common import names
from pipeline.images.classes import CHECKED, copy_classes
from stages.runner import stage


@stage("checked_classes")
def main(
    dataset: Annotated[str, typer.Argument(help="a set of evaluate.checks.datasets")],
) -> None:
    """Copy the class table of a set."""
    names.check([dataset], "checked_classes")
    copy_classes(dataset, CHECKED)


if __name__ == "__main__":
    typer.run(main)
