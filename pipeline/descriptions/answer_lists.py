"""Third step of reading an answer without JSON: the points of a list written in lines.

Here are two:                           ["A fox is red.", "Its tail is bushy and long."]
1. A fox is red.
2) **Its tail is bushy
   and long.**
"""

import re

# "- A", "* A", "• A", "1. A", "2) A", "(3) A", "Sentence 4: A", and a line in quotation marks
_POINT = re.compile(
    r"\s*(?:[-*•–+]|\(?(?P<number>\d{1,2})[.):]|sentence\s*#?\d{1,2}\s*[.:)])\s+(?P<text>\S.*)"
    r"|\s*[\"“](?P<quoted>[^\"“”]+)[\"”],?\s*$",
    re.IGNORECASE,
)
_RULE = re.compile(r"\s*(?:```\w*|[-=_*]{3,}|</?\w+>)?\s*$")  # blank, fence, line, tag


def last_list(text: str) -> list[str]:
    """The texts of the last list's points; none without a list.

    A line of words, or a number 1, ends the list before it; a line that is indented goes on
    with its point.
    """
    points: list[str] = []
    closed = False
    for line in text.splitlines():
        point = _POINT.match(line)
        if point is None and points and not closed and re.match(r"\s+\S", line):
            points[-1] += " " + line.strip()
        elif point is None:
            closed = closed or not _RULE.match(line)
        else:
            if closed or point["number"] == "1":
                points = []
            points.append(point["text"] or point["quoted"])
            closed = False
    return points
