"""Meta prompts: what asks a language model for the questions of a prompt set.

data/meta_prompts/<name>.yaml is a named, versioned file, as a prompt set is.
"""

import hashlib
import json
import re
from pathlib import Path

from pipeline.common.bounds import Count
from pipeline.common.params import Section, read_params, validate

FOLDER = Path("data/meta_prompts")
_SLOTS = re.compile(r"\{(?:about|count)\}")


class MetaPrompt(Section):
    """The parts of the message, in their order; {} in them is the model's to write.

    Any part may have {about} for the sentence about the data set, and {count} for the number of
    questions.
    """

    version: Count
    system: str
    example: str
    request: str

    def message(self, about: str, count: int) -> str:
        """What the model is asked for `count` questions on the data set that `about` describes."""
        fillings = {"{about}": about.rstrip(" ."), "{count}": str(count)}
        text = "\n\n".join([self.system, self.example, self.request])
        # Both slots at once, so that braces in the sentence stay as they are.
        return _SLOTS.sub(lambda slot: fillings[slot[0]], text)

    def digest(self) -> str:
        """SHA-256 of everything but the version number."""
        content = self.model_dump(exclude={"version"})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_meta_prompt(name: str) -> MetaPrompt:
    """The meta prompt `name`.

    Raises:
        UserError: there is no such file, or it is no meta prompt.
    """
    path = FOLDER / f"{name}.yaml"
    return validate(read_params(path), MetaPrompt, str(path))
