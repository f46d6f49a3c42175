"""Whether a model declines: an answer that does nothing else is asked again, and cleaning drops the
sentence."""

import re

# "I'm sorry, but I cannot describe it.", "As an AI language model, I ...", "It is hard to answer".
_REFUSAL = re.compile(
    r"^i(?:'m| am| was) (?:\w+ )?"
    r"(?:sorry|afraid|unable|unsure|not (?:able|certain|familiar|sure))\b"
    r"|^(?:sorry|(?:my )?apologies|i apologi[sz]e|please|can you|could you|what do you mean)\b"
    r"|^i have no (?:idea|information|knowledge|way)\b"
    r"|^i do(?:n't| not) (?:know|understand|recogni[sz]e|have (?!to\b)|see (?:an?|any|the)\b)"
    r"|^i (?:can(?:'t|not| not)|could(?:n't| not)|won't|will not) (?:be able|access|answer|assist"
    r"|comply|continue|create|describe|determine|do\b|find|generate|give|help(?! but)|identify"
    r"|provide|recogni[sz]e|say|tell|view|write"
    r"|see (?:an?|any|images?|photos?|pictures?|that|the|this|your)\b)"
    r"|^i (?:was|were|am|have)(?:n't| not) (?:\w+ )?(?:able|been able|trained|given|provided)\b"
    r"|^(?:cannot|can't|could not|couldn't|unable to|not able to) (?:see|describe|answer|identify"
    r"|find|determine|provide|tell|view|help)\b"
    r"|^(?:not sure|unsure|unknown|not applicable|n/a|no (?:answer|idea|image|photo|description))\b"
    r"|^unfortunately,? (?:i|it|no|there|we)\b"
    r"|^(?:as|i'm|i am) (?:just |only )?an? (?:\w+ ){0,2}(?:ai|language model)(?![\w-])"
    r"|^(?:as an? (?:\w+ )?assistant,|i(?:'m| am) an? (?:\w+ )?assistant\b)"
    r"|^(?:it seems )?(?:that )?there (?:is|was|has been) an? (?:\w+ )?misunderstanding"
    r"|^(?:(?:this |your )?question is|this is a (?:bit of a )?(?:[\w-]+ )?question)\b"
    r"|^(?:that|it|this) (?:really |all )?depends\b"
    r"|\banswers? to (?:that|the|this|your) question\b"
    r"|\bthere (?:is|are) (?:no|not) (?:[\w-]+ ){0,3}answers?\b"
    r"|\b(?:difficult|hard|impossible) to (?:answer|(?:give|provide) an? (?:[\w-]+ )?answer)\b"
    r"|\bso (?:it is|it's|it can be) (?:very |quite )?(?:difficult|hard|impossible) to (?:identify"
    r"|describe|give|provide|generali[sz]e|say|list|pinpoint|narrow|make|name)\b",
    re.IGNORECASE,
)


def is_refusal(text: str) -> bool:
    """The model declines, does not know or asks for more: "I cannot see the photo."."""
    return bool(_REFUSAL.search(text.replace("\u2019", "'")))
