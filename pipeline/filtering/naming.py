"""Whether a sentence names its class, and the class's name in place of a leading pronoun."""

import re
from functools import cache

from pipeline.descriptions.articles import plural

_PRONOUN = re.compile(
    r"^(?:it|they|he|she|its|their|his|her)\b(?!-)"
    r"|^(?:this|these|that|those) (?=(?:is|are|was|were|has|have|can|may)\b)",
    re.IGNORECASE,
)
# "It is possible to see the fins.": stands for no thing
_EXPLETIVE = re.compile(
    r"^it(?:'s| is| was| can be| may be)? (?:also |often |not |very )*(?:a fact|appears|clear"
    r"|common|customary|estimated|important|impossible|possible|rare|recommended|said|seems|thought"
    r"|true|worth)\b(?: (?:that|to|for|who|if|when)\b| \w+ing\b)"
    r"|^it(?:'s| is) (?:\w+ )?(?:known|believed) that\b",
    re.IGNORECASE,
)
_POSSESSIVE = frozenset({"its", "their", "his", "her"})
_PLURAL = frozenset({"they", "these", "those"})
_CONTRACTED = {"'s": " is", "'re": " are", "'ve": " have", "'ll": " will", "'d": " would"}


def names_class(text: str, class_name: str) -> bool:
    """Whether the last word of the name, or of one of its parts, is there, in one number or the
    other: "Foxes are red." names "red fox"; "gasmask" names "gas mask or respirator"."""
    words = {word.removesuffix("'s") for word in re.findall(r"[\w']+", text.casefold())}
    squeezed = re.sub(r"[\W_]", "", text.casefold())
    for part in re.split(r",| or |/|\(|\)", class_name.casefold()):
        name = re.findall(r"[\w']+", part)
        if name and (words & _numbers(name[-1]) or (name[1:] and "".join(name) in squeezed)):
            return True
    return False


def has_pronoun_for_name(text: str, class_name: str) -> bool:
    """Whether a pronoun stands where the class's name should: "It is round.", not "A fox has
    it.", "It is a fox." or "It is clear that there is a tail."."""
    pronoun = _PRONOUN.match(text) and not _EXPLETIVE.match(text)
    return bool(pronoun) and not names_class(text, class_name)


def with_name(text: str, class_name: str) -> str:
    """The text with the class's name for its leading pronoun, where it does not name the class.

    "It's round." -> "The goldfish is round."; "They have fins." -> "The cats have fins.";
    "Its eyes are red." -> "The goldfish's eyes are red."
    """
    match = _PRONOUN.match(text)
    if not (match and has_pronoun_for_name(text, class_name)):
        return text
    pronoun, remainder = match[0].casefold().strip(), text[match.end() :].lstrip(" ")
    name = plural(class_name) if pronoun in _PLURAL else class_name
    if pronoun in _POSSESSIVE:
        return f"The {name}{chr(39) if name.endswith('s') else chr(39) + 's'} {remainder}"
    for short, verb in _CONTRACTED.items():
        if remainder.startswith(short):
            remainder = verb.lstrip() + remainder.removeprefix(short)
    return f"The {name} {remainder}"


@cache
def _numbers(word: str) -> frozenset[str]:
    """Singulars and plurals that an English word may have, by its spelling."""
    forms = {word, f"{word}s", f"{word}es"}
    for ending, others in _ENDINGS.items():
        if word.endswith(ending) and len(word) > len(ending) + 1:
            forms |= {word.removesuffix(ending) + other for other in others}
    return frozenset(forms | _IRREGULAR.get(word, set()))


_ENDINGS = {
    **{"y": ("ies",), "ies": ("y", "ie"), "f": ("ves",), "fe": ("ves",), "ves": ("f", "fe")},
    **{"es": ("", "e"), "s": ("",), "man": ("men",), "men": ("man",), "us": ("i",), "a": ("ae",)},
}
_IRREGULAR = {"ox": {"oxen"}, "goose": {"geese"}, "mouse": {"mice"}, "foot": {"feet"}}
