"""Named, versioned sets of questions about a class: data/prompts/<name>.yaml.

A set is data, so that adding one re-runs nothing: the describe stage depends on the chosen
file alone. `digest` covers every word that reaches the model and goes to provenance.json;
tests/descriptions/test_prompts.py asks for a new version number when a word changes.
"""

import hashlib
import json
import re
import unicodedata
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from pipeline.common.errors import UserError
from pipeline.common.params import Section, Template, read_params, validate

FOLDER = Path("data/prompts")


def _has_slot(text: str) -> str:
    if "{}" not in text:
        raise ValueError("needs {} for the class")
    return text


WithClass = Annotated[str, AfterValidator(_has_slot)]


class PromptSet(Section):
    """Questions with {} for the class (article and name), and the text around them.

    `questions` maps a prompt id to its text; `rules` ends every message and also has {count}
    for the number of sentences; `pictures` opens it where the model is shown images.
    """

    version: int = Field(ge=1)
    questions: dict[str, Template] = Field(min_length=1)
    rules: WithClass
    pictures: WithClass

    def message(self, prompt_id: str, name: str, count: int, with_images: bool) -> str:
        """What the model is asked about the class called `name`, for `count` sentences."""
        opening = [self.pictures] if with_images else []
        text = "\n\n".join([*opening, self.questions[prompt_id], self.rules])
        # The name goes in last and by `replace`, so that braces in it stay as they are.
        return text.replace("{count}", str(count)).replace("{}", with_article(name))

    def digest(self) -> str:
        """SHA-256 of everything in the set but its version number."""
        content = self.model_dump(exclude={"version"})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_prompts(name: str, folder: Path = FOLDER) -> PromptSet:
    """The set `name`.

    Raises:
        UserError: no such file, or not a prompt set; the sets there are, are named.
    """
    path = folder / f"{name}.yaml"
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        raise UserError(f"{path}: no such prompt set; there are: {names}")
    prompts = validate(read_params(path), PromptSet, str(path))
    if "{count}" not in prompts.rules:
        raise UserError(f"{path}: rules needs {{count}} for the number of sentences")
    return prompts


def with_article(name: str) -> str:
    """`name` after "a" or "an", by its sound: an Ostrich, a unicycle, an hourglass, an SUV."""
    plain = unicodedata.normalize("NFD", name)
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    if not plain.strip():
        return name
    if number := re.match(r"\d+", plain):
        vowel = number[0].startswith("8") or number[0] in ("11", "18")
    elif spelled := _SPELLED.match(plain):
        vowel = spelled[0][0].lower() in "aefhilmnorsx"
    else:
        vowel = str(_inflect().a(plain)).startswith("an ")
    return f"{'an' if vowel else 'a'} {name}"


# Letters said one by one: an SUV, an MP3 player, a T-shirt; AC/DC is, NASA is not.
_SPELLED = re.compile(r"(?:[A-Z]{2,3}|[A-Z]|[A-Za-z]{1,3}\d+)(?![a-zA-Z])")


@cache
def _inflect() -> Any:
    from inflect import engine  # slow to import: only where a question is asked

    return engine()
