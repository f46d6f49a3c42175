"""What the report tells of a model: `python -m stages.about <model>`.

Copies data/models/<model>/record/ to data/about/<model>/, so that the report depends on the models
that are evaluated and on no other.
"""

import shutil
from typing import Annotated

import typer

from pipeline.clip.folders import ABOUT, record_folder
from pipeline.common import names
from pipeline.common.atomic import replacing_directory
from stages.runner import stage


@stage("about")
def main(model: Annotated[str, typer.Argument(help="a model of evaluate.models")]) -> None:
    """Copy the record of a model."""
    names.check([model], "about")
    with replacing_directory(ABOUT / model) as folder:
        shutil.copytree(
            record_folder(model), folder, dirs_exist_ok=True, copy_function=shutil.copyfile
        )


if __name__ == "__main__":
    typer.run(main)
