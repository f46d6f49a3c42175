"""Check that what params.yaml names is there: `python -m stages.names`.

Writes nothing. `dvc repro` runs it first: of an unknown name DVC itself would only say that a file
is missing, and only at the turn of the stage that needs it.
"""

from typing import Any

import typer

from pipeline.clip.folders import FINETUNED
from pipeline.common.options import check_defined, check_evaluated_names, check_plugin
from pipeline.common.params import read_value
from pipeline.descriptions import confusions
from pipeline.descriptions.exemplars import NO_EXEMPLARS
from pipeline.zeroshot.text_tables import DESCRIPTIONS, SAME
from stages.runner import stage

Sections = dict[str, dict[str, Any]]


@stage("names")
def main() -> None:
    """Check the plug-ins, sets, texts, models and confusable classes that params.yaml names."""
    check_plugins()
    check_sets()
    check_evaluated_names(DESCRIPTIONS, FINETUNED)
    texts = [*read_value("embed.texts", dict[str, Any]), DESCRIPTIONS, SAME]
    check_defined([read_value("evaluate.attacker", str)], texts, "evaluate.attacker")


def check_plugins() -> None:
    """Check the names that stand for files of the code, but for attacks."""
    for key in ("prepare.sets", "models"):
        for name, section in read_value(key, Sections).items():
            check_plugin(key, str(section.get("source")), f".{name}.source")
    for key in ("describe.backend", "finetune.method"):
        check_plugin(key, read_value(key, str))


def check_sets() -> None:
    """Check the names that stand for image sets, exemplars and confusable classes."""
    sets = read_value("prepare.sets", Sections)
    for name, section in read_value("pretrain", Sections).items():
        check_defined([str(section.get("dataset"))], sets, f"pretrain.{name}.dataset")
    for key in ("describe.dataset", "finetune.dataset"):
        check_defined([read_value(key, str)], sets, key)
    for key in ("evaluate.datasets", "evaluate.checks.datasets"):
        check_defined(read_value(key, list[str]), sets, key)
    exemplars = [NO_EXEMPLARS, *read_value("exemplars", Sections)]
    check_defined([read_value("describe.exemplars", str)], exemplars, "describe.exemplars")
    entries = read_value("confusions", dict[str, Sections])
    confusions.check_names(entries, read_value("describe.confusions", str))


if __name__ == "__main__":
    typer.run(main)
