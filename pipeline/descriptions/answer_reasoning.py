"""Second step of reading an answer: the stretches of it that are not a model's reasoning.

| text                                 | stretches outside reasoning |
|--------------------------------------|-----------------------------|
| `<think>a draft</think> the answer`  | `the answer`                |
| `a draft </think> the answer`        | `the answer`                |
| `one <reflection>b</reflection> two` | `one`, `two`                |
| `<think>a thought without an end`    | none                        |
| `analysisA draftassistantfinalthe`   | `the`                       |
"""

import json
import re

_NAMES = (
    r"think(?:ing)?(?:[_ ]process)?|thoughts?(?:[_ ]process)?|reason(?:ing)?|reflect(?:ion)?|"
    r"analysis|rationale|scratch_?pad|plan(?:ning)?|draft|critique|brainstorm(?:ing)?|"
    r"(?:inner|internal)_monologue|chain_of_thought|cot|seed:think"
)
# <think>, </Thinking>, <reasoning lang="en">, [THINK], [/THINK], ◁think▷, ◁/think▷
_TAG = re.compile(
    rf"<\s*(?P<end1>/?)\s*(?P<name1>{_NAMES})(?:\s[^<>]*)?>"
    r"|\[(?P<end2>/?)(?P<name2>THINK(?:ING)?|THOUGHTS?|REASONING)\]"
    r"|◁\s*(?P<end3>/?)\s*(?P<name3>\w+)\s*▷",
    re.IGNORECASE,
)
# Harmony's channels after a server dropped their tokens: "analysisTwo, so ...assistantfinal{}".
_BARE_ANALYSIS = re.compile(r"\s*analysis(?=[A-Z{\[\"'])")
_BARE_FINAL = "assistantfinal"
_BARE_TURN = re.compile(r"assistant(?:analysis|commentary)")
_EMPTY_TAG = re.compile(rf"<\s*(?:{_NAMES})\s*/>", re.IGNORECASE)  # <think/>
_FENCE = "```"
_OPENED = re.compile(r"```\w*")


def outside_reasoning(text: str) -> list[str]:
    """The stretches of `text` outside a model's reasoning, in their order; none if a thought
    never ends.

    Text that is JSON from its first to its last character holds no reasoning: a tag in it is
    part of a sentence. A tag that ends what none began ends all before it, as templates that
    open the thought in the question leave it.
    """
    stretches, rest = list[str](), _EMPTY_TAG.sub(" ", text)
    while tag := None if is_json(rest) else _TAG.search(rest):
        end = tag if _ends(tag) else _end_of(tag, rest)
        if end is None:
            return []
        thought_began_here = not _ends(tag) and _name(end) == _name(tag)
        stretches = [*stretches, rest[: tag.start()]] if thought_began_here else []
        rest = rest[end.end() :]
    parts = [part for stretch in (*stretches, rest) for part in _final_parts(stretch)]
    return [part for part in parts if part.strip()]


def is_json(text: str) -> bool:
    """Whether all of `text` is one JSON object or list, perhaps in a code fence."""
    text = text.strip()
    opened = _OPENED.match(text)
    if opened and text.endswith(_FENCE, opened.end()):
        text = text[opened.end() : -len(_FENCE)].strip()
    if not text.startswith(("{", "[")):
        return False
    try:
        json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return False
    return True


def _final_parts(text: str) -> list[str]:
    if not _BARE_ANALYSIS.match(text):
        return [text]
    return [_BARE_TURN.split(part)[0] for part in text.split(_BARE_FINAL)[1:]]


def _end_of(opening: re.Match[str], text: str) -> re.Match[str] | None:
    """The next tag that ends a thought of the name of `opening`; without one, the last that ends
    a thought which began before it."""
    open_names, last = list[str](), None
    for tag in _TAG.finditer(text, opening.end()):
        name = _name(tag)
        if not _ends(tag):
            open_names.append(name)
        elif name == _name(opening):
            return tag
        elif name in open_names:
            open_names.remove(name)
        else:
            last = tag
    return last


def _ends(tag: re.Match[str]) -> bool:
    return any(tag[group] for group in ("end1", "end2", "end3"))


def _name(tag: re.Match[str]) -> str:
    return next(tag[group].lower() for group in ("name1", "name2", "name3") if tag[group])
