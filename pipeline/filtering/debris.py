"""What surrounds the sentence in a model's answer and is cut off: the sentence itself stays."""

import re

from pipeline.descriptions.answer_tokens import ASSISTANT, TOKEN

# "}]Consider", ", The handle", '":"A photo', "...and" -> "Consider", "The handle", ...; not ".5".
_LEADING = re.compile(r"^(?:[\s,;:!?)\]}|/\\=~]|\.(?!\d)|[\"'\[{(](?=[\s,;:.\"'\]}]))+")
_TRAILING = re.compile(r"(?<=\w)[\s,;|\\]+$|(?<=[.!?\"'])[\s,;\]}|\\]+$")
_CAPTION = re.compile(r"^\s*image result for [^\n]*\n+", re.IGNORECASE)  # a search engine's
# "My socks are black." -> "The socks are black."
_OWNER = re.compile(r"^(?:my|our) (?=[\w' -]{1,40}? (?:is|are|has|have|was|were|looks?)\b)", re.I)
# What opens an answer before it says anything: "Great question! ", "Assuming you mean the dog: ".
_PREFACE = re.compile(
    r"^(?:how to (?:identify|recogni[sz]e|spot) [^:]{1,40}: (?:look for )?"
    r"|(?:great|good|interesting|excellent) question[!.,:]\s*"
    r"|assuming (?:that )?you\b[^:]{0,60}:\s*)(?=\S)",
    re.IGNORECASE,
)
# "What is an apiary?An apiary is ..." -> "An apiary is ..."
_ASKED = re.compile(
    r"^(?:what|which|how|why|who|where|when|is|are|do|does|can)\b(?![^?]*\byou\b)[^?]{3,150}"
    r"\?[\"')]*\s*(?=[\"'(]?[A-Z\d])",
    re.IGNORECASE,
)
# "And it has a lid." -> "It has a lid."; not "So-called", "and saucerA cup ..."
_CONNECTIVE = re.compile(
    r"^(?!\w+ (?:[a-z]+ ){0,2}[a-z]+(?:An?|The|This) )"
    r"(?:(?:and|but|or|so|plus)(?![\w-])(?! (?:far|many|much|that)\b),?"
    r"|(?:additionally|also|finally|furthermore|however|in addition|in conclusion|moreover|overall"
    r"|therefore|thus),)\s+(?=\w)",
    re.IGNORECASE,
)


def without_chat_tokens(text: str) -> str:
    """What the model said in its first turn, without the tokens of a chat template and a search
    engine's caption.

    "<|im_start|>assistant A fox is red.<|im_end|><|im_start|>user More" -> " A fox is red."
    """
    # what stands before the first token is the answer, unless it is the end of a question
    asked = TOKEN.match(text.lstrip()) or "[/INST]" in text
    answer = _CAPTION.sub("", ASSISTANT.split(text, maxsplit=1)[-1] if asked else text)
    return next((part for part in TOKEN.split(answer) if part.strip()), "")


def without_marks(text: str) -> str:
    """The text without the braces, quotes and commas of the list that it stood in.

    '}]A fox is red."]' -> "A fox is red."; ", The tail is long," -> "The tail is long"
    """
    text = _TRAILING.sub("", _LEADING.sub("", text))
    for opening, closing in ("[]", "{}", "()", '""'):
        if text[:1] == opening and closing not in text[1:]:
            text = text[1:].lstrip()
        if text[-1:] == closing and opening not in text[:-1]:
            text = text[:-1].rstrip()
    return text


def without_opening(text: str) -> str:
    """The text without a question that it answers itself, a preface, an opening "And", or "my".

    "What is a fox? It is red." -> "It is red."; "But it has ears." -> "It has ears."
    """
    opened = _CONNECTIVE.sub("", _ASKED.sub("", _PREFACE.sub("", text)))
    opened = _OWNER.sub("The ", opened)
    return text if opened == text else opened[:1].upper() + opened[1:]
