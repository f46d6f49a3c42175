"""Describe every class in sentences: `python -m stages.describe`.

Reads data/classes/<describe.dataset>.parquet, the prompt set, the exemplars and the confusable
classes; writes data/descriptions/descriptions.parquet, every sentence as it came, and
provenance.json beside it (how they were made; nothing downstream reads it but the report); with
describe.per_image also captions.parquet, which says of which image each sentence is.
"""

import typer

from pipeline.common.options import load_plugin
from pipeline.common.params import read_section
from pipeline.descriptions import session
from pipeline.descriptions.confusions import read_confusions
from pipeline.descriptions.exemplars import read_exemplars
from pipeline.descriptions.interface import Task
from pipeline.descriptions.params import DescribeParams, classes_to_describe
from pipeline.descriptions.prompts import read_prompts
from pipeline.descriptions.wordnet import with_glosses
from pipeline.images.classes import CLASSES, read_classes
from stages.runner import stage


@stage("describe")
def main() -> None:
    """Ask the chosen backend for the descriptions of every class of the training set."""
    params = read_section("describe", DescribeParams)
    module, options = load_plugin(
        "pipeline.backends", "describe", "backend", params.backend, params.options
    )
    table = read_classes(params.dataset)
    if module.ASKS_MODEL:
        table = with_glosses(table, params.gloss)
    classes = classes_to_describe(table, params.only, str(CLASSES / f"{params.dataset}.parquet"))
    prompts = read_prompts(params.prompts)
    session.check_exemplars(params, module)
    session.check_confusions(params, module)
    session.check_questions(params, module, prompts)
    exemplars = read_exemplars(params.exemplars, classes, table, together=not params.per_image)
    confusions = read_confusions(params.confusions, classes, table)
    with session.answer_log(params, module, options, prompts) as log:
        task = Task(
            classes=classes,
            prompt_set=params.prompts,
            prompts=prompts,
            exemplars=exemplars,
            seed=params.seed,
            log=log,
            table=table,
            per_image=params.per_image,
            confusions=confusions,
        )
        answers = module.describe(task, options)
        session.check_answers(answers, classes, params)
        count = session.write_artifact(answers, classes, params.backend)
    print(f"{count} sentences for {len(classes)} classes ({params.backend})")


if __name__ == "__main__":
    typer.run(main)
