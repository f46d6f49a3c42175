"""Where one sentence of a line ends and the next begins.

A text is split behind "." or "!" where white space and a capital letter, a digit or a script
without capitals follow, and both sides have two words or more. It is not split

- behind "?": question and answer belong together, and cleaning drops them together;
- behind an ellipsis, a decimal point or the number that opens a point of a list;
- behind an abbreviation that goes on ("approx.", "Mr."), or one that does if a number follows
  ("No. 5", "Fig. 2");
- behind initials, "Inc." and units ("U.S. Army", "E. coli", "6 ft. 2 in."), unless a word
  follows that opens sentences ("... of the U.S. It has ...").
"""

import re
from itertools import islice

_LONGEST = 100  # characters of a word that is an abbreviation, a number or initials
_BREAK = re.compile(r"(?<![.…])[.!][\"')\]”’]*\s+(?=[\"'(\[“‘]?(\w))|[。！]\s*(?=\w)")
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
_UNITS = frozenset(re.findall(r"\S+", "ft in lb lbs oz"))
_OPENERS = frozenset(
    re.findall(
        r"\S+",
        "a all an and at both but each from he her his however if in it its many most on one she "
        "some the their there these they this those when while with",
    )
)


def split(text: str) -> list[str]:
    """The sentences of one line of text, by the rule above."""
    parts, start = [], 0
    for gap in _BREAK.finditer(text):
        before, after = text[start : gap.end()].rstrip(), text[gap.end() :]
        if is_end(before, after) and (gap[1] is None or _two_words(before, after)):
            parts.append(before)
            start = gap.end()
    return [*parts, text[start:]]


def is_end(before: str, after: str) -> bool:
    """Whether a sentence ends between the two, of which the first ends in an end mark."""
    following = re.search(r"\w+", after)
    opener = following[0] if following else ""
    if opener[:1].islower():
        return False
    marked = before.rstrip("\"')]”’")
    if marked.endswith(("!", "?", "！", "。")):
        return True
    word = _LAST_WORD.search(marked[-_LONGEST:-1])[0].lower()  # type: ignore[index]
    rest = marked[: -1 - len(word)].rstrip()
    if word in _GOES_ON or (word in _GOES_ON_BEFORE_NUMBER and opener[:1].isdigit()):
        return False
    if word.isdigit() and (not rest or rest.endswith((":", ";", ","))):
        return False
    is_unit = word in _UNITS and rest[-1:].isdigit()
    if is_unit or word in _MAY_GO_ON or _INITIALS.fullmatch(word):
        return opener.lower() in _OPENERS
    return True


def _two_words(before: str, after: str) -> bool:
    """Whether both have two words; only so many are looked for."""
    return all(len(list(islice(re.finditer(r"\w+", text), 2))) == 2 for text in (before, after))
