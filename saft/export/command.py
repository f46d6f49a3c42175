"""`saft export DEST`: the fine-tuned model as a folder for open_clip and the Hugging Face hub."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from pipeline.common.errors import UserError
from saft.errors import one_line_errors


@one_line_errors("saft export")
def main(
    dest: Annotated[
        Path, typer.Argument(help="folder to make; its name is the model's name on the card")
    ],
) -> None:
    """Write the fine-tuned model with a model card: what open_clip loads and the hub takes.

    Refuses where reports/metrics.json, whose results the card tells, is not of this model.
    """
    try:
        export(dest)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{error.filename or dest}: {reason}") from None
    print(f'{dest}: open_clip.create_model_and_transforms("local-dir:{dest}")')
    print(f"to share it: hf upload <user>/{dest.resolve().name} {dest}")


def export(dest: Path) -> None:
    """Write DEST as a whole or not at all.

    Raises:
        UserError: DEST is there and not empty, an input is missing, or model and results do
            not belong together.
    """
    from pipeline.clip.folders import MODEL
    from pipeline.clip.model import CONFIG_FILE, WEIGHTS_FILE
    from pipeline.common.atomic import replacing_directory
    from saft.export import card as model_card  # with torch: only here, so that --help is quick
    from saft.export.inputs import read_inputs
    from saft.export.lineage import read_lock

    target = dest.resolve()
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise UserError(f"{dest}: exists and is not an empty folder; name another")
    card = model_card.render(read_inputs(read_lock()), target.name)
    with replacing_directory(target) as folder:
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            shutil.copyfile(MODEL / name, folder / name)
        (folder / "README.md").write_text(card, encoding="utf-8")
