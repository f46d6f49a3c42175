"""The keys under which models put their sentences, and the words that they write instead of one."""

import re

# The first one of an object counts. A key is known by its last word: "Visual_Descriptions",
# "finalAnswer" and "sentence_1" are.
KEYS = (
    *("sentences", "descriptions", "captions", "answers", "sentence", "description", "caption"),
    *("list", "items", "output", "outputs", "results", "result", "response", "responses"),
    *("answer", "text", "texts", "content", "value", "values", "data"),
)
_NO_ANSWER = frozenset(
    re.findall(
        r"\w+",
        "bad draft drafts example examples input question reasoning thought thoughts wrong",
    )
)
# Words of "Your first sentence here", "<sentence 1>", "string", which only hold the place of one.
_PLACEHOLDER_NOUNS = frozenset((*KEYS, "item", "str", "string", "strings"))
_PLACEHOLDER_WORDS = _PLACEHOLDER_NOUNS | frozenset(
    re.findall(
        r"\w+",
        "a an and another first second third fourth fifth goes here is last n next of one the this "
        "two three four five your",
    )
)
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_NUMBER = re.compile(r"\d+\W*$")


def rank(key: str) -> int | None:
    """Place in KEYS of a key that holds sentences, smaller first; None for any other key."""
    words = [word.lower() for word in _WORD.findall(key)]
    if not words or words[-1] not in KEYS or _NO_ANSWER.intersection(words):
        return None
    return KEYS.index(words[-1])


def is_numbered(key: str) -> bool:
    """Whether a key counts sentences: "1", "sentence_1", "Caption 2:"."""
    number = _NUMBER.search(key)
    return number is not None and (not _WORD.findall(key) or rank(key) is not None)


def is_placeholder(text: str) -> bool:
    """Whether a text is the name of a key, or only holds the place of a sentence."""
    words = [word.lower() for word in re.findall(r"[A-Za-z]+", text)]
    return bool(_PLACEHOLDER_NOUNS.intersection(words)) and _PLACEHOLDER_WORDS.issuperset(words)
