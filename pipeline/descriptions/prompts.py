"""Named, versioned sets of questions about a class: data/prompts/<name>.yaml.

A set is data, so that adding one re-runs nothing: the describe stage depends on the chosen
file alone. `digest` covers every word that reaches the model and goes to provenance.json;
tests/descriptions/test_prompts.py asks for a new version number when a word changes.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from pipeline.common.bounds import Count
from pipeline.common.errors import UserError
from pipeline.common.params import Section, Template, read_params, validate
from pipeline.descriptions.articles import with_article

FOLDER = Path("data/prompts")
GLOSS = "{gloss}"  # with the space before it and the brackets around it; empty without a gloss
OTHERS = "{others}"  # the classes that the class is confused with
_NOT_IN_A_MESSAGE = {"version", "per_image", "origin", "reviewed"}
_SLOTS = re.compile(r"\{(?:count|gloss|others)?\}")


def _has_slot(text: str) -> str:
    if "{}" not in text:
        raise ValueError("needs {} for the class")
    return text


def _has_no_other_slot(text: str) -> str:
    if _SLOTS.search(text.replace("{}", "")):
        raise ValueError("takes no slot but {}, the class")
    return text


WithClass = Annotated[str, AfterValidator(_has_slot)]
OnlyClass = Annotated[Template, AfterValidator(_has_no_other_slot)]


class PromptSet(Section):
    """Questions with {} for the class (article and name), and the text around them.

    `questions` maps a prompt id to its text; `rules` ends every message and also has {count}
    for the number of sentences; `pictures` opens it where the model is shown images. What the
    class means, where that is known, follows its name in the question, or stands where the
    question has {gloss}: "What does a monarch (large migratory American butterfly) look like?"
    {others} are the classes that it is confused with, as `alternatives` of articles.py lists them.

    called: what {} stands for, where the name alone is no thing: with "{} texture" the class
        "banded" is "a banded texture" in every text; null: the name.
    per_image: true: the questions are about one picture (describe.per_image); null: about a class.
    origin, reviewed: of a set that a model wrote (`saft prompts write`), and whether somebody has
        read it since; null: people wrote it.
    """

    version: Count
    called: OnlyClass | None = None
    questions: dict[str, Template] = Field(min_length=1)
    rules: WithClass
    pictures: WithClass
    per_image: bool | None = None
    origin: dict[str, Any] | None = None
    reviewed: bool | None = None

    @property
    def names_others(self) -> bool:
        """Whether a message names the classes that the class is confused with."""
        return any(OTHERS in text for text in (*self.questions.values(), self.rules, self.pictures))

    def spoken(self, name: str) -> str:
        """What the class called `name` is called in a message: "banded" a "banded texture"."""
        return (self.called or "{}").replace("{}", name)

    def message(
        self,
        prompt_id: str,
        name: str,
        count: int,
        with_images: bool,
        gloss: str = "",
        others: str = "",
    ) -> str:
        """What the model is asked about the class called `name`, for `count` sentences.

        Args:
            gloss: what the class means; "": not known.
            others: fills {others}: "a trout, a carp or an eel".
        """
        question = self.questions[prompt_id]
        if GLOSS not in question:
            question = question.replace("{}", "{}" + GLOSS)
        opening = [self.pictures] if with_images else []
        text = "\n\n".join([*opening, question, self.rules])
        # All slots at once, so that braces in a name or a gloss stay as they are.
        fillings = {
            "{}": with_article(self.spoken(name)),
            "{count}": str(count),
            GLOSS: f" ({gloss})" if gloss else "",
            OTHERS: others,
        }
        return _SLOTS.sub(lambda slot: fillings[slot[0]], text)

    def digest(self) -> str:
        """SHA-256 of everything that decides a message; what is null is left out."""
        content = self.model_dump(exclude=_NOT_IN_A_MESSAGE, exclude_none=True)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_prompts(name: str, folder: Path = FOLDER) -> PromptSet:
    """The set `name`.

    Raises:
        UserError: no such file, or not a prompt set; the sets there are, are named. Or a model
            wrote it, and nobody has reviewed it.
    """
    path = folder / f"{name}.yaml"
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        raise UserError(f"{path}: no such prompt set; there are: {names}")
    prompts = validate(read_params(path), PromptSet, str(path))
    if "{count}" not in prompts.rules:
        raise UserError(f"{path}: rules needs {{count}} for the number of sentences")
    if prompts.reviewed is False or (prompts.origin and not prompts.reviewed):
        raise UserError(
            f"{path}: a model wrote these questions; read them, edit them, and set reviewed: true"
        )
    return prompts
