"""Encode a text set by a model: `python -m stages.embed <model> <text set>`.

Reads data/texts/ and data/models/<model>/clip/; writes data/embeddings/<model>/<text set>/ (see
`pipeline.zeroshot.text_sets`). A text that an equal text tower has encoded before is not encoded
again.
"""

from typing import Annotated

import typer

from pipeline.clip import model as clip
from pipeline.clip.device import deterministic_device
from pipeline.clip.folders import clip_folder
from pipeline.clip.text_encoding import OnceEncoder
from pipeline.common import names
from pipeline.common.params import read_value
from pipeline.embeddings.encoded import write_text_set
from pipeline.embeddings.templates import class_folders, read_texts
from pipeline.images.classes import read_classes
from pipeline.zeroshot.text_sets import folder_of
from pipeline.zeroshot.text_tables import SAME
from stages.runner import stage

Model = Annotated[str, typer.Argument(help="a model of evaluate.models")]
Texts = Annotated[str, typer.Argument(help="a text set of evaluate.texts")]


@stage("embed")
def main(model: Model, texts: Texts) -> None:
    """Write the embeddings of a text set for every image set, and of what the attacker sees."""
    names.check([model, texts], "embed")
    attacker = read_value("evaluate.attacker", str)
    evaluated = read_value("evaluate.datasets", list[str])
    folders = class_folders(evaluated, read_value("evaluate.checks.datasets", list[str]))
    names.check([attacker, *folders], "evaluate")
    classes = {name: read_classes(name, folder) for name, folder in folders.items()}
    classifying = {name: read_texts(texts, name, entries) for name, entries in classes.items()}
    seen = classifying
    if attacker != SAME:
        seen = {name: read_texts(attacker, name, entries) for name, entries in classes.items()}
    encoder = OnceEncoder(clip.load(clip_folder(model)), deterministic_device())
    write_text_set(folder_of(model, texts), classifying, seen, encoder)
    total = sum(len(table.texts) for table in classifying.values())
    print(f"{model}: {total} texts of '{texts}' for {len(classes)} sets, {encoder.encoded} encoded")


if __name__ == "__main__":
    typer.run(main)
