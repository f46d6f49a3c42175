"""Named sets of questions, and a seed for each, for the backends that ask a language model.

A set is data: `digest` covers everything that reaches the model, so a changed word shows in
provenance.json. No backend lives here, hence the underscore (see pipeline.registry).
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from pipeline.images import ClassEntry

SEED_SPACING = 1024
"""vLLM samples answer i of a request with seed + i: more answers would reach the next seed."""

SetName = Literal["cupl", "visual"]


@dataclass(frozen=True)
class PromptSet:
    """Questions with one {} for the class (article and name), and what is said after each.

    `rules` has {count} for the number of sentences and {} for the class.
    """

    questions: tuple[str, ...]
    rules: str


@dataclass(frozen=True)
class Question:
    """One message to the model; `prompt_id` is "<set>.<number from 1>"."""

    class_id: str
    prompt_id: str
    message: str


_FORM = (
    "Answer with a JSON list of exactly {count} strings. Each string is one English sentence "
    "of at most 25 words that mentions {} and makes sense without the others."
)

PROMPT_SETS: dict[SetName, PromptSet] = {
    # The five questions of CuPL (Pratt et al., 2023); the rules are ours, they ask for JSON.
    "cupl": PromptSet(
        (
            "Describe what {} looks like",
            "How can you identify {}?",
            "What does {} look like?",
            "Describe an image from the internet of {}",
            "A caption of an image of {}:",
        ),
        _FORM,
    ),
    # Ours: one kind of visible attribute per question, nothing that a picture cannot show.
    "visual": PromptSet(
        (
            "Which colours, patterns and surface textures can be seen on {}?",
            "What are the outline, proportions and apparent size of {}?",
            "Which visible parts does {} have, and where do they sit?",
            "Which visible details tell {} apart from things that look similar?",
            "How does {} look from different sides, in different poses or in different light?",
        ),
        _FORM + " State only what a photo shows: no sound, smell, taste, price, purpose, origin, "
        "history or opinion.",
    ),
}


def with_article(name: str) -> str:
    """`name` after "a" or "an", by its first letter whatever its case.

    Spelling decides, not sound: "an Ostrich", but also "an Unicorn" and "a hour glass".
    """
    return f"{'an' if name.lower().startswith(tuple('aeiou')) else 'a'} {name}"


def build_prompts(prompts: SetName, name: str, count: int) -> list[str]:
    """One message per question of set `prompts` about class `name`, for `count` sentences."""
    chosen = PROMPT_SETS[prompts]
    rules = chosen.rules.replace("{count}", str(count))
    # The name goes in last and by `replace`, so that braces in it stay as they are.
    return [f"{q}\n\n{rules}".replace("{}", with_article(name)) for q in chosen.questions]


def questions(prompts: SetName, classes: Sequence[ClassEntry], count: int) -> list[Question]:
    """Every question of set `prompts` about every class, class by class."""
    return [
        Question(entry.class_id, f"{prompts}.{number}", message)
        for entry in classes
        for number, message in enumerate(build_prompts(prompts, entry.name, count), start=1)
    ]


def request_seed(question: Question, seed: int, attempt: int) -> int:
    """A seed below 2**58 that depends on the question's identity, not on its place in a batch.

    Multiples of SEED_SPACING: two different seeds cannot meet through vLLM's seed + i.
    """
    key = json.dumps([seed, attempt, question.class_id, question.prompt_id])
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6], "big") * SEED_SPACING


def digest(prompts: SetName) -> str:
    """SHA-256 of the set's questions and rules."""
    return hashlib.sha256(json.dumps(asdict(PROMPT_SETS[prompts])).encode()).hexdigest()
