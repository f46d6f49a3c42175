"""Check that what params.yaml names is there: `python -m stages.names`.

`dvc repro` runs it first: DVC says little of an unknown name, and removes the outputs of a stage
before it could refuse. So what it makes stages of depends on data/names, a constant text.
"""

from pathlib import Path
from typing import Any

import typer

from pipeline.clip.folders import FINETUNED
from pipeline.common import options
from pipeline.common.atomic import replacing_file
from pipeline.common.errors import UserError
from pipeline.common.params import PARAMS_FILE, read_value
from pipeline.descriptions import confusions
from pipeline.descriptions.exemplars import NO_EXEMPLARS
from pipeline.images.classes import NO_SET
from pipeline.results.matrix import MATRIX, repetitions
from pipeline.zeroshot.text_tables import DESCRIPTIONS, SAME
from stages.runner import stage

Sections = dict[str, dict[str, Any]]
CHECKED, TEXT = Path("data/names"), "every name in params.yaml is one\n"


@stage("names")
def main() -> None:
    """Check every name that params.yaml gives, and every one that it uses."""
    options.check_entry_names()
    options.check_plugins()
    check_sets()
    options.check_evaluated_names(DESCRIPTIONS, FINETUNED)
    for key in MATRIX:
        for fault in repetitions(key, read_value(key, list[Any])):
            raise UserError(f"{PARAMS_FILE}: {fault}")
    texts = [*read_value("embed.texts", dict[str, Any]), DESCRIPTIONS, SAME]
    options.check_defined([read_value("evaluate.attacker", str)], texts, "evaluate.attacker")
    options.check_defined(read_value("finetune.texts", list[str]), texts[:-2], "finetune.texts")
    with replacing_file(CHECKED) as partial:
        partial.write_text(TEXT, encoding="utf-8")


def check_sets() -> None:
    """Check the names that stand for image sets, exemplars and confusable classes."""
    sets = read_value("prepare.sets", Sections)
    for name, section in read_value("pretrain", Sections).items():
        options.check_defined([str(section.get("dataset"))], sets, f"pretrain.{name}.dataset")
    options.check_used_sets(sets, NO_SET, FINETUNED)
    exemplars = [NO_EXEMPLARS, *read_value("exemplars", Sections)]
    options.check_defined([read_value("describe.exemplars", str)], exemplars, "describe.exemplars")
    entries = read_value("confusions", dict[str, Sections])
    confusions.check_names(entries, read_value("describe.confusions", str))


if __name__ == "__main__":
    typer.run(main)
