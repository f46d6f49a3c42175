"""Description backends, one file each; the file name is what `describe.backend` names.

A backend module has
    ASKS_MODEL: bool                          True: a model writes the sentences, which takes an
                                              answer log, and exemplars if there are any; False:
                                              they are read from a file
    class Params(Section)                     its keys under `describe.options.<backend>`
    def describe(task, params) -> Answers
and returns sentences as they came: cleaning and choosing is done by the filter stage, so that
a better rule never makes an expensive model run again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.descriptions.answer_log import AnswerLog
from pipeline.descriptions.confusions import Confusions
from pipeline.descriptions.exemplars import Exemplar
from pipeline.descriptions.prompts import PromptSet
from pipeline.images.classes import ClassEntry


@dataclass(frozen=True)
class Task:
    """What to describe.

    table: the whole class table, of which `classes` may be a part; empty: they are all of it.
    exemplars: class id -> the class's images, best first; empty: no images.
    log: answers already paid for, which survive an interruption; None for backends that
    query no model.
    per_image: each image is described on its own, not the class with all of them.
    confusions: the classes that a class is confused with, for prompt sets with {others}.
    """

    classes: Sequence[ClassEntry]
    prompt_set: str
    prompts: PromptSet
    exemplars: Mapping[str, Sequence[Exemplar]]
    seed: int
    log: AnswerLog | None = None
    table: Sequence[ClassEntry] = ()
    per_image: bool = False
    confusions: Confusions = field(default_factory=Confusions)

    @property
    def images_per_class(self) -> int:
        """Most images that a class is shown with; 0: none at all."""
        return max(map(len, self.exemplars.values()), default=0)

    @property
    def images_per_message(self) -> int:
        """Most images that a message shows; 0: none at all."""
        return 1 if self.per_image else self.images_per_class


@dataclass(frozen=True)
class Sentence:
    """One description of a class, and where it came from.

    sample_index counts the sentences of one prompt from 0; prompt_set and prompt_id are
    empty where no model was queried; source is the backend, with a remark after a comma if any.
    image is the row of data/images/<set>/images.npy that it describes; None: it is about the class.
    """

    class_id: str
    text: str
    source: str
    prompt_set: str = ""
    prompt_id: str = ""
    sample_index: int = 0
    image: int | None = None


@dataclass(frozen=True)
class Answers:
    """What a backend returns: sentences in any order, and how they were made.

    `provenance` is JSON-serialisable and holds no key, host or path of a machine.
    """

    sentences: Sequence[Sentence]
    provenance: dict[str, Any] = field(default_factory=dict)
