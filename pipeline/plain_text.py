"""One line of plain text out of what a language model writes: markdown, entities, lists."""

import html
import re
import unicodedata

# The fraction slash is what NFKC leaves of ½: 1, slash, 2.
_TYPOGRAPHY = str.maketrans("‘’‚“”„‐‑‒–—―−⁄", "'''\"\"\"-------/")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z]\w{1,31});")
_TRADE_MARK = re.compile("[™℠®©]")
# Would run into the number before it: 2½ is not 21/2, 10² is not 102.
_FRACTION = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅟↉]|[⁰¹²³⁴-⁹]+⁄)")
_POWER = re.compile(r"(?<=\d)(?=[⁰¹²³⁴-⁹])")
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
_LABEL = re.compile(
    r"^(?:(?:short|brief|long|image|photo|visual|alt) )?"
    r"(?:sentence|description|caption|answer|output|response)s?(?: ?#?\d{1,3})?\s*:\s+(?=\S)",
    re.IGNORECASE,
)
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_MARKS = re.compile(r"(\*\*|__|\*|`+|~~|(?<!\w)_)(?=\S)(.+?)(?<=\S)\1(?!(?<=_)\w)")
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,40}>")


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
