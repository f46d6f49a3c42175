"""Texts in which a model talks instead of describing: one predicate per reason."""

import re

_ANSWER = r"(?:[\w-]+ ){0,4}(?:sentence|description|caption|answer|response|list)s?\b"
# "Here are five sentences:", "Sure! A cat is small.", "I hope this helps.", "Do you mean X?"
_META = re.compile(
    r"^(?:sure|certainly|of course|absolutely|okay|ok)\b(?: thing)?[!,.:]|^great!"
    rf"|^here(?:'s| is| are) (?:{_ANSWER}|(?:an? )?json\b)|^here you (?:go|are)\b"
    rf"|^(?:below (?:is|are)|the following(?: are)?|note that (?:the|these|this)) {_ANSWER}"
    r"|^these (?:[\w-]+ )?(?:sentence|description|caption)s?\b"
    r"|^the (?:sentence|description|caption)s? (?:above|below)\b"
    r"|^i(?:'ve| have) (?:attached|included|provided|written)\b"
    r"|^i(?:'ll| will) (?:now|provide|write)\b"
    r"|^(?:i hope|let me know|feel free|note that i)\b"
    r"|^it (?:seems|appears) that you(?:'re| are)\b"
    r"|(?<!\d):(?:\W*|-?\d[.)])$"  # a list that is not there
    r"|\byou\b.*\?[\"')]*\.?$",
    re.IGNORECASE,
)
_QUESTION = re.compile(r"\?[\"')]*\.?$")
_OBJECT = (
    r"(?:an?|the|this|that|these|those|your|some|any|all|each|for|to|how|at|in|on|up|out|[a-z]+ing)"
)
_VERBS = (
    r"(?:add|buy|check|choose|click|compare|consider|create|describe|discover|don't|draw|enjoy|"
    r"explain|explore|find|get|give|go|identify|imagine|insert|introduce|keep|learn|let|list|look|"
    r"make|name|picture|place|prepare|provide|put|read|remember|save|see|show|start|take|tell|"
    r"think|try|use|visit|watch|write)"
)
# "Look at the goldfish!", "How to make an espresso", "To prepare an espresso, start by ...",
# "If you're looking for a meal, you gotta go to Joe's"; not "Show horses are groomed."
_INSTRUCTION = re.compile(
    rf"^(?:please )?{_VERBS} {_OBJECT}\b|^(?:let's|let us)\b"
    r"|^how to (?!be\b)\w+|^(?:tips|steps|ways|instructions|a guide|guide) (?:for|to|on)\b"
    r"|^to (?:make|prepare|draw|create|identify|cook|use|build) [^,]+, (?:you|start|begin|first"
    r"|simply|use|add|mix|take)\b"
    r"|^name (?:two|three|four|five|six|ten|\d+)\b"
    r"|\byou (?:gotta|(?:have|need) to (?:try|see|go|visit))\b|^if you(?:'re| are) looking for\b",
    re.IGNORECASE,
)
# "I see a basketball", "This summer, I decided to ...", "My favourite food"; not "I can see a
# tench with green scales.", which tells what it looks like.
_FIRST_PERSON = re.compile(
    r"^(?:[\w' ]{1,40}, |yesterday |today |once |recently |(?:last|this) \w+ )?"
    r"(?:i|we)(?:'m|'ve| am| have| was| had| were)?"
    r"(?: (?:also|always|just|never|once|really|recently|still))? (?:am|ate|been|bought|cooked"
    r"|decided|drove|enjoy(?:ed)?|felt|found|got|had|like|loved?|made|met|own|prefer|remember|think|thought"
    r"|took|tried|used|visited|want|wanted|was|watched|went|wish|wore|would like|(?:not )?an? \w+)"
    r"\b|^(?:i|we) (?:can |could )?(?:see|saw) (?:an?|the|some|that|this) (?:[\w-]+ ){0,2}[\w-]+"
    r"[.!]?$"
    r"|^(?:my|our|mine)\b(?! (?:galaxy|planet|solar))",
    re.IGNORECASE,
)
_LINK = re.compile(
    r"https?:|\bwww\.|\b[\w-]+\.(?:com|org|net|edu|gov|jpe?g|png|gif|html?)\b"
    r"|\bimage may be found\b|\bimage (?:can be found|is available|result|credit|source)\b"
    r"|\b(?:photo|picture) (?:credit|courtesy|source)\b|^(?:photo|picture|image)s? (?:by|via)\b"
    r"|\bclick here\b|^(?:source|credit|via):",
    re.IGNORECASE,
)


def is_meta(text: str) -> bool:
    """About the answer: "Here are five sentences:", "Which tench do you mean?"."""
    return bool(_META.search(text))


def is_question(text: str) -> bool:
    """A question, and no description: "How is a fox different from a wolf?"."""
    return bool(_QUESTION.search(text))


def is_instruction(text: str) -> bool:
    """Tells the reader to do something: "Look at the goldfish!", "How to make an espresso"."""
    return bool(_INSTRUCTION.search(text))


def is_first_person(text: str) -> bool:
    """About the writer: "I see a basketball", "This summer, I decided to buy a go kart."."""
    return bool(_FIRST_PERSON.search(text))


def has_link(text: str) -> bool:
    """An address, or a place where an image was: "It looks like this: https://www."."""
    return bool(_LINK.search(text))
