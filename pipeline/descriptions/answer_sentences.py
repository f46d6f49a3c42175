"""Last step of reading an answer: the usable sentences in one of its strings.

    "1. **A fox is\\nred.** It has a tail of approx. 40 cm."
        -> "A fox is red.", "It has a tail of approx. 40 cm."

A text is split behind "." or "!" where white space and a capital letter, a digit or a script
without capitals follow, and both sides have two words or more. It is not split

- behind "?": question and answer belong together, and cleaning drops them together;
- behind an ellipsis, a decimal point or the number that opens a point of a list;
- behind an abbreviation that goes on ("approx.", "Mr."), or one that does if a number follows
  ("No. 5", "Fig. 2");
- behind initials and "Inc." ("U.S. Army", "E. coli"), unless a word follows that opens
  sentences ("... of the U.S. It has ...").
"""

import re

from pipeline.descriptions.answer_keys import is_placeholder

LONGEST = 300  # characters; a string this long that has no end was cut there, or ran away
_MARKER = re.compile(r"^(?:[-*•–]|\(?\d{1,2}[.)])(?:\s+|$)")
_QUOTED = re.compile(r"\"([^\"]+)\"|“([^“”]+)”")
_BOLD = re.compile(r"\*\*(\S.*?)\*\*")
_BREAK = re.compile(r"(?<![.…])[.!][\"')\]”’]*\s+(?=[\"'(\[“‘]?(\w))|[。！]\s*(?=\w)")
_END = re.compile(r"[.!?…。！？][\"')\]”’]*$")
_LAST_WORD = re.compile(r"[^\s(\"'“‘]*$")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
_GOES_ON = frozenset(
    re.findall(
        r"\S+",
        "approx avg ca capt cf col dr e.g gen gov i.e lat lt max min mr mrs ms mt prof rev sgt sp "
        "spp st subsp var viz vs",
    )
)
_GOES_ON_BEFORE_NUMBER = frozenset(re.findall(r"\S+", "fig figs no nos p pp vol"))
_MAY_GO_ON = frozenset(re.findall(r"\S+", "bros co corp inc jr ltd sr"))
_OPENERS = frozenset(
    re.findall(
        r"\S+",
        "a all an and at both but each from he her his however if in it its many most on one she "
        "some the their there these they this those when while with",
    )
)


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


def split(text: str) -> list[str]:
    """The sentences of one line of text, by the rule above."""
    parts, start = [], 0
    for gap in _BREAK.finditer(text):
        before, after = text[start : gap.end()].rstrip(), text[gap.end() :]
        if _is_end(before, after) and (gap[1] is None or _two_words(before, after)):
            parts.append(before)
            start = gap.end()
    return [*parts, text[start:]]


def has_end(text: str) -> bool:
    """Whether a text has an end mark, also within bold type or quotation marks."""
    return bool(_END.search(plain(text)))


def looks_like_sentence(text: str) -> bool:
    """Whether a text has an end mark, or is at least three words long."""
    return has_end(text) or len(text.split()) >= 3


def _is_end(before: str, after: str) -> bool:
    """Whether a sentence ends between the two, of which the first ends in an end mark."""
    following = re.search(r"\w+", after)
    opener = following[0] if following else ""
    if opener[:1].islower():
        return False
    marked = before.rstrip("\"')]”’")
    if marked.endswith(("!", "！", "。")):
        return True
    word = _LAST_WORD.search(marked[:-1])[0].lower()  # type: ignore[index]
    rest = marked[: -1 - len(word)].rstrip()
    if word in _GOES_ON or (word in _GOES_ON_BEFORE_NUMBER and opener[:1].isdigit()):
        return False
    if word.isdigit() and (not rest or rest.endswith((":", ";", ","))):
        return False
    if word in _MAY_GO_ON or _INITIALS.fullmatch(word):
        return opener.lower() in _OPENERS
    return True


def _two_words(before: str, after: str) -> bool:
    return all(len(re.findall(r"\w+", text)) >= 2 for text in (before, after))


def _is_usable(text: str) -> bool:
    piece_of_json = text.startswith(("}", "]")) or text.endswith(("{", "["))
    return any(map(str.isalnum, text)) and not piece_of_json and not is_placeholder(text)
