"""Which of the questions that a language model wrote can be asked about a class.

A model writes the class in many ways, often with an article; a prompt set has {} for both:
"What colour is the [CLASS]?" -> "What colour is {}?"
"""

import re
from collections.abc import Iterable

from pipeline.filtering.subject_matter import unseen_topics

LONGEST = 30  # words of a question
# {}, {class}, {{class}}, ${class}, [CLASS], <class name>, (class), $class, %s, __CLASS__, CLASS,
# and quotation marks around it; "{class}'s" keeps its own.
_SLOT = re.compile(
    r"[\"'`*“‘]*"
    r"(?:\$?\{{1,2}[\w -]{0,30}\}{1,2}|\[[A-Za-z][\w -]{0,30}\]|<[A-Za-z][\w -]{0,30}>"
    r"|\((?:class|category|object|label)(?:[ _]?name)?\)|\$[a-z_]+|%s|__[A-Za-z]+__"
    r"|\b(?:CLASS|CATEGORY)(?:[ _]?NAME)?\b)"
    r"(?:[\"`*”]|['’](?!s\b))*"
)
_ARTICLE = re.compile(
    r"\b(?:an?|the|this|that|these|those|each|every|any|your)\s+\{\}", re.IGNORECASE
)
# "the usual {}" would be asked as "the usual a fox"; in "the shape of {}" a preposition stands.
_ADJECTIVE = re.compile(
    r"\b(?:(?:an?|the|each|every|any)\s+(?!(?:of|in|on|at|by|for|from|with|within|as)\b)[\w-]+"
    r"|different|various|typical|similar|other|common|such|many|most|some|all|several)\s+\{\}",
    re.IGNORECASE,
)
# "{} scenes" would be asked as "a river scenes"
_PLURAL = re.compile(
    r"\{\}\s+(?:scene|image|photo|photograph|picture|texture|type|kind|variet(?:y|ie)|object|class(?:e)?"
    r"|area|region|place|landscape|example|surface|pattern|digit)s\b",
    re.IGNORECASE,
)
_JOINED = re.compile(r"[\w-]\{\}|\{\}(?!['’]s\b)['’]?\w")  # "{}s"; "{}'s wings" can be said
# What no image shows, besides the topics of pipeline.filtering.
_UNSEEN = re.compile(
    r"\b(?:why|sounds?|noises?|feels?|weigh\w*|weight|pric\w+|costs?|function|meaning|class|category"
    r"|belongs?)\b",
    re.IGNORECASE,
)


def usable_questions(texts: Iterable[str], most: int, example: str = "") -> list[str]:
    """The first `most` questions that can be asked, with {} for the class, none twice.

    Args:
        example: text whose questions are no answer, such as a meta prompt's example.
    """
    questions: dict[str, str] = {}
    for text in texts:
        question = with_slot(text)
        if is_usable(question) and question not in example:
            questions.setdefault(re.sub(r"[^\w{}]+", " ", question.lower()), question)
    return list(questions.values())[:most]


def with_slot(text: str) -> str:
    """The question on one line, with {} for the class and its article."""
    question = _SLOT.sub("{}", " ".join(text.split()))
    question = _ARTICLE.sub("{}", question)
    return question[:1].upper() + question[1:]


def is_usable(question: str) -> bool:
    """Whether it is one question of at most LONGEST words about how a class looks, with one {}
    where the name can stand with its article."""
    slots, rest = question.count("{}"), question.replace("{}", "")
    is_one = question.endswith("?") and len(question.split()) <= LONGEST
    reads_badly = any(map(question.__contains__, "[]<>")) or "{" in rest or "}" in rest
    reads_badly |= any(form.search(question) for form in (_ADJECTIVE, _PLURAL, _JOINED))
    return slots == 1 and is_one and not reads_badly and _is_visual(rest)


def _is_visual(question: str) -> bool:
    # To the lists of pipeline.filtering "can be seen" is an occurrence, and words end in blanks.
    text = question.replace("can be seen", "").replace("?", " ")
    return not _UNSEEN.search(text) and not unseen_topics(text)
