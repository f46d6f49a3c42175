"""Whether a text is English: CLIP's text encoder reads no other language."""

import re
import unicodedata

from pipeline.filtering.word_lists import ENGLISH, OTHER_LANGUAGES

FOREIGN_LETTERS = 0.01  # share of letters outside Latin script from which a text is not English
# Names in other scripts stand so: "sushi (寿司)", 'the sign "出口"'. One Greek letter is a symbol.
_ASIDE = re.compile(r"\([^()]*\)|\"[^\"]*\"|'[^']*'|(?<![^\W\d_])[Ͱ-Ͽ](?![^\W\d_])")
_WORD = re.compile(r"[^\W\d_]+")


def is_foreign(text: str, class_name: str = "") -> bool:
    """Whether the text is in another script or another language of Latin script.

    "Le renard a une queue rouge et touffue." "seasoned with盐 and pepper"; not "Consommé is clear."
    The class's name may be in any script.
    """
    plain = text.replace(class_name, " ") if class_name else text
    return share_of_foreign_letters(plain) >= FOREIGN_LETTERS or _other_stop_words(plain)


def share_of_foreign_letters(text: str) -> float:
    """Letters outside Latin script, of all letters, brackets and quotations left out: 0..1."""
    letters = [c for c in _ASIDE.sub(" ", text) if c.isalpha()]
    foreign = sum(not _is_latin(c) for c in letters)
    return foreign / len(letters) if letters else 0.0


def _is_latin(letter: str) -> bool:
    # "ª" and "ʻ" (Hawaiian) have names of their own, and are no letters of another script
    return letter.isascii() or unicodedata.name(letter, "").startswith(
        ("LATIN", "MODIFIER", "FEMININE", "MASCULINE", "MICRO")
    )


def _other_stop_words(text: str) -> bool:
    """Two or more different stop-words of one other language, and more than English ones."""
    words = {word.casefold() for word in _WORD.findall(text)}
    english = len(words & ENGLISH)
    return any(len(words & other) > max(1, english) for other in OTHER_LANGUAGES.values())
