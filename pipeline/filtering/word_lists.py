"""The words that the rules of cleaning look for, each list in one place."""

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words that two repeats may differ in.
LIGHT = _words(
    "a also an and are as be by commonly generally has have in is it its mostly normally of "
    "often on or that the their there these they this to typically usually very was were which with"
)

# Frequent words of English, and those of other Latin-script languages that English does not have.
ENGLISH = _words(
    "a all also an and are as at be but by can for from has have in is it its like may not of on "
    "or some that the their they this to usually was were which with"
)
OTHER_LANGUAGES = {
    "French": _words(
        "au aux avec ce ces cette dans de des du elle en est et il la le les leur mais ou par pas "
        "plus pour qui sa ses son sont souvent sur très un une"
    ),
    "German": _words(
        "auf aus bei das dem den der des die ein eine einem einen einer es für hat haben ihr ihre "
        "im ist mit nicht oder sehr sein seine sind und vom von wird zu zum zur"
    ),
    "Spanish": _words(
        "al con de del el ella en es esta este la las los muy más o para pero por que se ser sin "
        "son su sus tiene tienen un una y"
    ),
    "Italian": _words(
        "che con da dal dei del della delle di è e gli ha hanno i il in la le lo ma nel nella non "
        "per più si sono sua sue suo un una uno"
    ),
    "Portuguese": _words(
        "ao as com da das de do dos e ela ele em é mais mas muito na não no nas nos o os ou para "
        "pela por que seu sua suas são tem têm um uma"
    ),
    "Dutch": _words(
        "aan bij dat de die dit door een en het heeft hebben is met naar niet of om ook op te uit "
        "van voor wordt zijn zijn haar"
    ),
}

# Attributes that are named without a value: "its size, shape, and color".
ATTRIBUTES = _words(
    "appearance architecture behavior behaviour brand color coloration colors colour colours "
    "construction design dimensions durability ease features function functionality habitat "
    "height length location make markings material materials model number odor pattern patterns "
    "portability position price purpose quality scent shape shapes size sizes smell structure "
    "style taste texture type types use uses weight width"
)

# Words between them that say nothing either.
LINKING = _words("a an and are as can etc in include is it its like of or such the their to well")

# What no photograph shows. A blank stands for any white space; \w* is allowed.
NON_VISUAL = {
    "use": r"used (?:to|for|in|as|by|with) |useful|uses? (?:it|them) |(?:designed|intended|meant) "
    r"(?:to|for) |serves? as |purposes?|popular (?:for|with|in) |helps? |allow(?:s|ing)? |"
    r"can be (?:used|worn|found|eaten|seen|served) ",
    "taste": r"tast(?:es?|y|ing)|flavou?r\w*|delicious|savou?ry|spicy|smell\w*|aromas?|aromatic|"
    r"scent\w*|nutritious|served (?:with|as|in) |edible|refreshing",
    "habitat": r"found (?:in|on|near|throughout|along|across|at) |native|indigenous|habitats?|"
    r"inhabit\w*|liv(?:es?|ing) (?:in|on|near) |endemic|located (?:in|on|near|at) ",
    "history": r"histor\w*|ancient|originat\w*|invent(?:ed|or|ion)|century|centuries|founded|"
    r"tradition(?:al|ally|s)?|first (?:made|built|produced|introduced|bred) |bred|named after|"
    r"symbol(?:s|ic|izes?)?|culture?s?",
    "temperament": r"friendly|loyal\w*|intelligen\w*|aggressive|temperament\w*|playful|gentle|"
    r"affection\w*|protective|devoted|brave|energetic|curious|obedient|known for (?:its|their) "
    r"(?:speed|ability|strength)|can (?:run|jump|swim|climb|fly|be dangerous) |lifespan|feed on |"
    r"eats? |prey|predators?",
}
# What one does: a sentence with such a word says something that can be seen.
VISUAL = (
    r"black|white|red|blue|green|yellow|brown|gr[ae]y\w*|orange|pink|purple|golden?|silver\w*|"
    r"tan|colou?r\w*|strip\w+|spot(?:s|ted)|pattern\w*|markings?|shin(?:y|ing)|bright\w*|dark\w*|"
    r"pale|transparent|clear|round\w*|square|rectang\w+|circular|oval|cylind\w+|spherical|conical|"
    r"curv\w+|flat\w*|pointed|shap\w+|long\w*|short\w*|large\w*|small\w*|big|tall\w*|thin\w*|"
    r"thick\w*|wide|narrow|slender|huge|tiny|smooth|rough|textur\w+|furry|fluffy|fur|wood\w*|metal\w*|"
    r"plastic|glass|leather|stone|brick\w*|looks? like|appearance|resembl\w+|heads?|tails?|legs?|"
    r"ears?|eyes?|beak|bills?|wings?|feathers?|horns?|claws?|scales?|shell|skin|coat|bod(?:y|ies)|"
    r"handles?|wheels?|doors?|windows?|roofs?|walls?|lids?|strings?|buttons?|screens?|lens(?:es)?|"
    r"blades?|leaves|petals?|stem|stripes?"
)


def any_of(pattern: str) -> re.Pattern[str]:
    """The alternatives of `pattern` as whole words, in any case: "use" is not in "house"."""
    return re.compile(rf"\b(?:{pattern})(?:\b|(?<=\s))", re.IGNORECASE)
