"""Templates filled with the class name, in place of descriptions: a control.

Several wordings of "This is a photo of a {}" know nothing of a class but its name. Where they do
in training what descriptions do, it is the number of texts that counts, and not what they say.
"""

from typing import Annotated

from pydantic import AfterValidator, model_validator

from pipeline.common.bounds import Few
from pipeline.common.params import Section, Template
from pipeline.descriptions.interface import Answers, Sentence, Task
from pipeline.images.classes import fill_templates

ASKS_MODEL = False
CONTENT = "templates with the class name, nothing else about the class"


def _different(templates: list[Template]) -> list[Template]:
    if not templates:
        raise ValueError("needs a template, a sentence with one {}")
    if len(set(templates)) < len(templates):
        raise ValueError("has a template twice; to repeat one set filter.short_class: repeat")
    return templates


class Params(Section):
    """`describe.options.templates`."""

    templates: Annotated[list[Template], AfterValidator(_different)]
    count: Few | None

    @model_validator(mode="after")
    def _are_enough(self) -> "Params":
        if self.count is not None and self.count > len(self.templates):
            raise ValueError(
                f"count is {self.count} and there are {len(self.templates)} templates; "
                "add some, or lower it"
            )
        return self


def describe(task: Task, params: Params) -> Answers:
    """The first `count` templates filled with the name of each class, source "templates"."""
    chosen = params.templates[: params.count]
    sentences = [
        Sentence(class_entry.class_id, text, "templates", sample_index=index)
        for class_entry, texts in zip(
            task.classes, fill_templates(chosen, task.classes), strict=True
        )
        for index, text in enumerate(texts)
    ]
    return Answers(sentences, {"content": CONTENT, "templates": chosen})
