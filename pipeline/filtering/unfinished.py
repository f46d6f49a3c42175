"""Texts that are no whole statement: one predicate per reason."""

import re

from pipeline.descriptions.sentence_ends import split
from pipeline.filtering.plain_text import VERB, WORD
from pipeline.filtering.word_lists import ATTRIBUTES, LINKING, VISUAL

_CODE = re.compile(
    r"```|\b(?:def|function|class) \w+\(|\bprint\(|\bfrom \w+ import\b|\breturn \w+;|\w\(\)|=>|->"
    r"|\bimport \w+(?:\.\w+)*(?:;|$| as \w+)|^\"?\w+\"\s*:|[!=]=|&&"
    r"|\w = [\w\"'\[{(]|\+=|\|\||</?\w+|\w+\[['\"\d]|[{}]|;$"
    r"|\b(?i:python|html|css|java|javascript|code) (?:code|snippet|script|program)\b"
    r"|\b(?:null|NaN)\b"
)
_SLOT = (
    r"(?:class(?:[ _-]?name)?|category|object|item|name|animal|label|noun|subject|species|colou?r"
    r"|adjective|size|shape|number|description|sentence|text|thing|type|x|(?:insert|your) [^\]>}]*)"
)
# "{class}", "[CLASS]", "<object>", "____", "TODO", "Insert a description here."
_TEMPLATE = re.compile(
    rf"\{{+ ?\w* ?\}}+|%\(?\w+\)?s\b|\[{_SLOT}\]|<{_SLOT}>|(?<!\w)_{{2,}}(?!\w)|\bx{{3,}}\b"
    r"|\b(?:todo|tbd|fixme|lorem ipsum|placeholder|goes here)\b|\.{3} ?(?:here|etc)\b"
    r"|^insert (?:an?|the|your|here|more|text)\b"
    r"|^(?:an? |the )?(?:\w+ )?description (?:of|for|about) (?!.*\b(?:is|are|has|have|shows?)\b)",
    re.IGNORECASE,
)
# "stove (n.): a device", "upright piano - noun a piano", "'Plunger' is a common word for ..."
_DEFINITION = re.compile(
    r"^[\w' -]{0,40}?(?:\((?:n|noun|adj|v|verb)\.?\)|(?:^|[-:,] ?)(?:noun|adjective|verb)s?\b)"
    r"|^[\w'-]{1,30} (?:n|adj)\. |^[\"'][^\"']+[\"'] (?:means|refers to|can refer to)\b"
    r"|^the (?:word|term|name) [\"']?[\w -]+[\"']? (?:means|comes from|goes back|derives"
    r"|is derived)\b"
    r"|^[\"'][^\"']+[\"'] (?:is|are|was|can be|may be) (?:an?|the) (?:[\w-]+ )?"
    r"(?:word|term|phrase)s? (?:used|that|which|for|often|commonly|meaning|of)\b",
    re.IGNORECASE,
)
_ABOUT = (
    r"(?:about|approximately|around|roughly|nearly|almost|over|up to|than|least|of|from|only|size"
    r"|measur(?:es|ing)|\()"
)
# "about 1." of "about 1.2 metres", "8 to 10 feet (2." of "(2.5 m)", "ranges from 3 to 4."
_CUT_NUMBER = re.compile(
    rf"{_ABOUT} ?\$?\d{{1,2}}(?: ?(?:to|and|or|-) ?\d{{1,2}})?\.$", re.IGNORECASE
)
# "down its.", "and an."; not "what they are.", "the letter a."
_CUT_WORD = re.compile(
    r"(?:\b(?:an|and|because|but|generally|if|its|most|my|or|our|such as|than|the|their|typically"
    r"|usually|very|your|(?<!letter )(?<!capital )(?<!an )(?<!the )a|(?<!they )(?<!what )are"
    r"|approx|e\.g|i\.e|vs|mt|dr|sp)|[-:,;])\.$",
    re.IGNORECASE,
)
# "turtleThe photo shows ...": the model first went on with the last word of the question
_CONTINUATION = re.compile(r"^[a-z]+(?: [a-z]+){0,2}(?:An?|The|This|In|I|It|Some)(?= [a-z])")
_DEPENDENT = re.compile(
    r"^(?:to|for|with|without|by|because|which|who|whose|where|so that|in order to|than|as)\b"
)
_NAME_ONLY = re.compile(
    r"^(?:that's |it's )?(?:an?|the|this|that|some) (?:[\w'-]+ )?[\w'-]+[.!]?$", re.IGNORECASE
)
_SAYS_LOOKS = re.compile(
    rf"(?:that's |it's )?(?:an?|the) (?:{VISUAL}) [\w'-]+[.!]?$", re.IGNORECASE
)
_TRAITS = r"(?:[\w-]+ ){0,3}?(?:characteristics?|features?|attributes?|traits?|aspects?)"
# "The characteristics of a lake vary with its type.", "There are a few ways to identify a swan.",
# "They all share some common features.", "It can look like many different things."
_NO_CONTENT = re.compile(
    rf"^(?:(?:depending|there are) [^,;:]*, (?:so )?)?(?:[\w-]+ ){{0,3}}?(?:{_TRAITS}|appearance)\b"
    r"[^,;:]*\b(?:var(?:y|ies)|differs?|depends?)\b[^,;:]*$"
    rf"|^there (?:are|is) (?:[\w-]+ ){{1,3}}(?:{_TRAITS}|ways)\b[^,;:]*$"
    r"|\b(?:has|have|share)(?: some| certain| a few| many| several| a number of| \w+ common) "
    rf"{_TRAITS}(?: in common)?\.?$"
    r"|\bcan (?:look like|take(?: on)?|come in) (?:a lot of|many|several) (?:different )?"
    r"(?:things|forms|ways)\b[^,;:]*$",
    re.IGNORECASE,
)
# "The identifying characteristics of a plane are its size, shape, and color." names no value
_NAMED = re.compile(
    rf"^(?:{_TRAITS} of [^,;:]*?\b(?:are|is|includes?)\b(?: (?:typically|usually|often|generally))?"
    r":? )?(.*)$",
    re.IGNORECASE,
)


def has_code(text: str) -> bool:
    """Program text: "print('a cat')", "{"class": 3}"."""
    return bool(_CODE.search(text))


def is_template(text: str) -> bool:
    """A form that was not filled in: "The {class} has a tail.", "Insert a description here."."""
    return bool(_TEMPLATE.search(text))


def is_definition(text: str) -> bool:
    """A dictionary's line, about a word: "stove (n.): a device for cooking"."""
    return bool(_DEFINITION.search(text))


def is_cut_off(text: str) -> bool:
    """Ends inside a sentence: "A fox is about 1.", "It has a stripe down its."."""
    if text.count("(") > text.count(")"):
        return True
    return bool(_CUT_NUMBER.search(text) or _CUT_WORD.search(text))


def is_continuation(text: str) -> bool:
    """Goes on with the question's last word: "turtleThe photo shows ..."."""
    return bool(_CONTINUATION.search(text))


def has_no_content(text: str) -> bool:
    """That there are features, and not one of them: "Size, shape, and color."."""
    if _NO_CONTENT.search(text):
        return True
    named = _NAMED.match(text)
    words = {word.casefold() for word in WORD.findall(named[1])} - LINKING if named else set()
    return bool(words) and words <= ATTRIBUTES


def is_no_statement(text: str, class_name: str = "") -> bool:
    """A name alone, or a clause that hangs on nothing.

    "A convertible car", "To hold food", "With a strange shape."; not "A round, silver watch.",
    "A red ball" or "It's a black car." of another class than the black car.
    """
    if _NAME_ONLY.match(text):
        plain, name = text.casefold(), class_name.casefold()
        return not _SAYS_LOOKS.match(plain.replace(name, "x") if name else plain)
    clause = re.sub(r"^(?:in order )?to \w+", "", text, flags=re.IGNORECASE)
    dependent = _DEPENDENT.match(text[:1].lower() + text[1:])
    return bool(dependent) and ", " not in text and not VERB.search(clause)


def has_several_sentences(text: str) -> bool:
    """ "It is red. It has ears."; not "A bird, e.g. a tit."."""
    return len(split(text)) > 1
