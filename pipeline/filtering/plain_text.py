"""One line of plain text out of what a language model writes, and where it may end early."""

import html
import re
import unicodedata
from collections.abc import Iterator

from pipeline.descriptions.sentence_ends import is_end

WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")  # "cat", "don't", "web-footed"
# NFKC writes ½ as 1, fraction slash, 2; the slash becomes a plain one.
_TYPOGRAPHY = str.maketrans("‘’‚“”„‐‑‒–—―−⁄", "'''\"\"\"-------/")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z]\w{1,31});")
_TRADE_MARK = re.compile("[™℠®©]")
# Would run into the number before it: 2½ is not 21/2, 10² is not 102.
_FRACTION = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅟↉]|[⁰¹²³⁴-⁹]+⁄)")
_POWER = re.compile(r"(?<=\d)(?=[⁰¹²³⁴-⁻])")
# What a line of a list begins with: "- A cat", "2. A cat", "(b) A cat", "## A cat" -> "A cat".
_LEAD = re.compile(
    r"""^(?:
        [-*+•·>#|]+\s+ | \#+\s*                         # bullet, quotation, heading
        | [-+•·>](?![\d.])\s*                           # the same without a space; -5 is a number
        | \(?\d{1,3}[.):](?:\s+|$|(?=[A-Z])) | \[\d{1,3}\]\s+ | \d{1,3}\s+-\s+(?=[A-Z])
        | (?:[a-z]|[ivx]{2,4})\.\s+(?=[A-Z"'])          # not the genus of "e. coli"
        | \(?[a-zA-Z]\)\s+
    )+""",
    re.VERBOSE,
)
# "Description: a cat", "Caption #2: a cat" -> "a cat".
_LABEL = re.compile(
    r"^(?:(?:short|brief|long|image|photo|visual|alt) )?"
    r"(?:sentence|description|caption|answer|output|response)s?(?: ?#?\d{1,3})?\s*:\s*(?=\S)",
    re.IGNORECASE,
)
# "[cat](https://x)" -> "cat"; "**cat**", "`cat`", "_cat_" -> "cat", but not "snake_case_name".
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_MARKS = re.compile(r"(\*\*|__|\*|`+|~~|(?<!\w)_)(?=\S)(.+?)(?<=\S)\1(?!(?<=_)\w)")
# "<b>cat</b>" -> " cat "; "<class>" is the slot of a template and stays.
_TAG = re.compile(
    r"</?(?!(?:class|object|name|animal|category|item|insert|your)\b)[a-zA-Z][^<>]{0,40}>"
)

# Where a sentence may end: ". It", "; it", " - it", ", it".
_BREAK = re.compile(r"[.!?][\"')]*(?=\s+[\"'(]?[^\W_a-z])|;(?=\s)|\s-(?=\s)|,(?=\s)")
# Openers whose first comma does not end the sentence: "Unlike a cat, it barks".
_OPENER = re.compile(
    r"(?:after|although|as|at|because|before|by|compared|despite|due|during|for|from|given|if|in"
    r"|like|on|once|since|though|to|under|unless|unlike|until|when|where|whereas|while|with"
    r"|without)\b",
    re.IGNORECASE,
)
# Those of descriptions; a sentence with another verb is not shortened at a comma.
VERB = re.compile(
    r"\b(?:is|are|was|were|has|have|had|can|may|might|could|would|will|does|do|var(?:y|ies)"
    r"|(?:appear|blend|boast|combine|come|consist|contain|depict|display|exhibit|feature|grow"
    r"|include|lie|live|look|make|present|provide|range|resemble|serve|show|showcase|sit|sport"
    r"|stand|tend|use|wear)s?|possess(?:es)?)\b"
)
# A beginning that lacks its noun: "It has a long" of "It has a long, thin tail".
_LONE_ADJECTIVE = re.compile(
    r"\b(?:an?|its|the|their|with|has|have) (?:\w+ly |very )?"
    r"(?:big|broad|large|long|narrow|short|slender|small|tall|thick|thin|tiny|wide)$"
)
# "often wooden" and "winding" may stand before a noun, "often made of" and "winding up" do not
_FOLLOWS = (
    r"(?:an?|as|at|both|by|for|from|in|into|its?|of|on|out|over|that|the|their|them|this|to|up"
    r"|with)\b"
)
_SURE = r"(?:allowing|creating|featuring|giving|including|making|providing)\b"
_MANNER = r"(?:commonly|generally|often|sometimes|typically|usually) "
# After a comma, what can be left off: "with a red beak", "which is long", "often living in ponds".
_DROPPABLE = re.compile(
    rf"(?:(?:along |together )?with|such as|where(?:as)?|which|while|whos?e?)\b|{_SURE}"
    rf"|(?:{_MANNER})?[a-z]+ing {_FOLLOWS}|{_MANNER}(?:{_SURE}|(?:[\w-]+ )?{_FOLLOWS})"
)
# The same, after the first comma of a sentence only: "and has a red beak", "but is mostly grey".
_AND = re.compile(rf"(?:and|but) (?:(?:are|can|has|have|is|may|they)\b|{_FOLLOWS})")


def normalise(text: str) -> str:
    """One line of plain text: Unicode NFKC, plain quotes, dashes and fractions, no control or
    invisible characters or trade marks, no markup, list numbering, label ("Description:") or
    enclosing quotes."""
    text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    text = _POWER.sub("^", _FRACTION.sub(" ", _TRADE_MARK.sub("", text)))
    text = unicodedata.normalize("NFKC", text).translate(_TYPOGRAPHY)
    text = "".join(" " if c.isspace() else c for c in text if c.isspace() or _visible(c))
    text = _TAG.sub(" ", _LINK.sub(r"\1", text))
    previous = None
    while previous != text:
        previous = text
        text = _LABEL.sub("", _LEAD.sub("", " ".join(text.split())))
        text = _MARKS.sub(r"\2", text)
        if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" and text.count(text[0]) == 2:
            text = text[1:-1]
    return text.strip()


def _visible(character: str) -> bool:
    return unicodedata.category(character) not in ("Cc", "Cf", "Co", "Cs", "Cn")


def beginnings(text: str) -> Iterator[str]:
    """The beginnings of `text` that can stand alone, shortest first.

    They end, outside brackets and quotation marks, at the end of a sentence; a semicolon; a
    dash that is the only one; and a comma before something that can be left off.
    """
    for match in _BREAK.finditer(text):
        part, mark, remainder = (
            text[: match.start()],
            match[0].strip(),
            text[match.end() :].lstrip(),
        )
        through_mark = text[: match.end()]
        if through_mark.count("(") != through_mark.count(")") or through_mark.count('"') % 2:
            continue
        if mark[0] in ".!?":
            # "It has fins, etc." leaves out what may come next
            if is_end(part + mark, remainder) and not part.endswith("etc"):
                yield part + mark
        elif mark == ";" or (mark == "-" and text.count(" - ") == 1) or _droppable(part, remainder):
            yield f"{part}."


def _droppable(part: str, remainder: str) -> bool:
    """Whether `remainder`, after a comma, can be left off `part`.

    It is "which ...", "with ...", "making ..." and the like, "often ...", or an "and ..." that
    closes no list. `part` has a verb and is not "It has a long". The first comma of a sentence
    that opens with "Unlike ...", "In ..." and so on is never such a place.
    """
    sentence = re.split(r"[.;!?]\s", part)[-1]
    first = ", " not in sentence
    if not VERB.search(sentence) or _LONE_ADJECTIVE.search(sentence):
        return False
    if first and _OPENER.match(sentence):
        return False
    return bool(_DROPPABLE.match(remainder) or (first and _AND.match(remainder)))
