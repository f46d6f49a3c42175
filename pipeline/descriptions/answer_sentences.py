"""Last step of reading an answer: the usable sentences in one of its strings.

"1. **A fox is\\nred.** It has a tail of approx. 40 cm."
    -> "A fox is red.", "It has a tail of approx. 40 cm."
"""

import re

from pipeline.descriptions.answer_keys import is_placeholder
from pipeline.descriptions.sentence_ends import split

LONGEST = 300  # characters; a string this long that has no end was cut there, or ran away
_MARKER = re.compile(r"^(?:[-*•–]|\(?\d{1,2}[.)])(?:\s+|$)")
_QUOTED = re.compile(r"\"([^\"]+)\"|“([^“”]+)”")
_BOLD = re.compile(r"\*\*(\S.*?)\*\*")
_END = re.compile(r"[.!?…。！？][\"')\]”’]*$")


def sentences_in(text: str) -> list[str]:
    """The usable sentences of one string of an answer, on one line each.

    Not usable are blanks, what has no letter or digit, placeholders ("...", "string"), what begins
    or ends like a piece of JSON ("}]Consider ..."), and what was cut at LONGEST characters.
    """
    line = plain(text)
    parts = split(line)
    if len(text) >= LONGEST and not _END.search(line):
        parts = parts[:-1]
    return [part for part in parts if _is_usable(part)]


def plain(text: str) -> str:
    """One line, without the mark of a list in front, bold type or quotation marks around it."""
    text = _MARKER.sub("", _BOLD.sub(r"\1", " ".join(text.split())))
    quoted = _QUOTED.fullmatch(text)
    return quoted[quoted.lastindex or 0].strip() if quoted else text


def has_end(text: str) -> bool:
    """Whether a text has an end mark, also within bold type or quotation marks."""
    return bool(_END.search(plain(text)))


def looks_like_sentence(text: str) -> bool:
    """Whether a text has an end mark, or is at least three words long."""
    return has_end(text) or len(text.split()) >= 3


def _is_usable(text: str) -> bool:
    piece_of_json = text.startswith(("}", "]")) or text.endswith(("{", "["))
    return any(map(str.isalnum, text)) and not piece_of_json and not is_placeholder(text)
