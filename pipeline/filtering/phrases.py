"""The noun phrases of a sentence, by rule: what is left between function words and verbs."""

import re

# "cat", "don't", "web-footed", or a mark between two phrases
_TOKEN = re.compile(r"[^\W_]+(?:['-][^\W_]+)*|[^\s\w]")
_BETWEEN = frozenset(
    re.findall(
        r"\w+",
        # articles, pronouns, prepositions, conjunctions
        "a an the this that these those some any each every both all many most other others "
        "it its they them their he his she her you your i my we our one who whose which what "
        "where when in on at of to from with without within by for as into onto over under "
        "above below between among around across along through near behind beside against "
        "about like unlike than up down out off and or but nor so if while whereas because "
        "although though not no also too "
        # auxiliaries and the verbs of descriptions
        "is are was were be been being am do does did has have had having can could may might "
        "must will would shall should appear appears allow allows allowing come comes consist "
        "consists contain contains display displays distinguish distinguishes distinguished "
        "exhibit exhibits feature features featuring find found form forms give gives help "
        "helps hold holds identify include includes including keep keeps know known lie lies "
        "live lives look looks make makes made making provide provides resemble resembles see "
        "seen serve serves set show shows shown sit sits stand stands surround surrounded "
        "tend use uses used using wear wears worn characterize characterized characterise "
        "characterised cover covered attach attached there "
        # adverbs of degree and time
        "very often usually typically generally commonly sometimes always never mainly mostly "
        "especially quite more much just only well even then ",
    )
)


def noun_phrases(sentence: str) -> list[str]:
    """The phrases in their order, in lower case, without articles; the sentence itself where
    there is none.

    For example "A goldfish has a round body and a fin." gives "goldfish", "round body", "fin".
    There is no tagger: a verb that is not in the list joins the phrases around it.
    """
    phrases: list[list[str]] = [[]]
    for token in _TOKEN.findall(sentence.casefold()):
        if token in _BETWEEN or not token[0].isalnum():
            phrases.append([])
        else:
            phrases[-1].append(token)
    return [" ".join(words) for words in phrases if words] or [sentence]
