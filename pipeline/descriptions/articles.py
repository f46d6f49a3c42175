"""A class name in the middle of a text: with the article that it takes or none, and its plural."""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any

# Letters said one by one: an SUV, an MP3 player, a T-shirt; AC/DC is, NASA and Mi8 are not.
_SPELLED = re.compile(r"([A-Z]{2,3}|[A-Z]|(?:[A-Z]{1,3}|[a-z]{1,3})(?=\d))\d*(?![a-zA-Z])")
# Of three letters, and yet said as a word: a SIM card, a SAR image, a RAV4.
_SPOKEN = re.compile("FOB|HUD|LAN|MAC|MIG|NAS|PIN|RAM|RAV|RIB|ROM|SAM|SAR|SIM")
# The same where capitals do not tell: an suv, an Mri scan, an x ray, an m&m, an SNES.
_SPELLED_SO = re.compile(
    r"(?:[a-z](?=[ &-]|$)|(?:fm|fps|fpv|hd|hdd|hdmi|hdtv|hgv|html|hvac|lcd|led|lng|lp|lpg|mlrs|mp"
    r"|mpv|mri|mvp|nba|nfc|nfl|nhl|rc|rfid|rgb|rpg|rv|sd|sms|snes|ssd|suv|svg|uav|uk|url|xl|xxl)"
    r"(?![a-z]))",
    re.IGNORECASE,
)
# One thing, with an S at its end too.
_ACRONYM = re.compile("[A-Z]{2,3}|[B-DF-HJ-NP-TV-Z]{4,}|(?i:bios|gps|sms|snes)")
# Said as eleven or eighteen: 11, 18000; 1812 and 1100 as years and models are, in hundreds.
_ELEVEN_OR_EIGHTEEN = re.compile(r"1[18](?:\d{2,3})?")
_SIGN = re.compile(r"(?:letter [^\W\d_]|(?:digit|number) \w+)", re.IGNORECASE)  # letter a, digit 8
# What follows the noun that decides: "hen-of-the-woods" is a hen, "kite (bird of prey)" a kite.
_AFTER_NOUN = re.compile(r"\s*\(|[ -](?:of|with|in|for)[ -]")
_LISTS = re.compile(r",|\bor\b", re.IGNORECASE)  # a name that reads as several
_IRREGULAR = ("children", "feet", "geese", "men", "mice", "people", "teeth", "women")
# One thing that ends like several. Words in -ss, -us and -is never count as several.
_ONE = re.compile(
    "atlas|canvas|christmas|flandres|gallows|gas|lens|malinois|patas|pyrenees|series|species"
    "|triceratops|woods"
)
_PAIRS = re.compile(
    "binoculars|eyeglasses|goggles|headphones|jeans|leggings|pajamas|pants|pliers|pyjamas"
    "|scissors|shears|shorts|spectacles|sunglasses|tights|tongs|trousers|trunks"
)
# Not counted. The last word of a name; those of ImageNet and Tiny-ImageNet first.
_MASS = re.compile(
    "broccoli|carbonara|consomme|corn|cream|dough|eggnog|fabric|guacamole|hay|lotion|mail|paper"
    "|perfume|powder|rapeseed|sauce|spray|sunscreen|syrup|thatch|tissue|velvet|wine|wool"
    "|bread|ceviche|edamame|grass|hummus|land|pasta|ramen|rice|sand|sashimi|snow|sushi|toast"
    "|vegetation|water"
)
_MASS_NAMES = ("brass", "mashed potato")  # a brass instrument and a potato are counted


def with_article(name: str) -> str:
    """`name` as it stands in "What does ... look like?".

    By its sound: an ostrich, a unicycle, an hourglass, an SUV. One thing of two halves: a pair of
    binoculars. The plural and what is not counted: mashed potatoes, guacamole. The letter a.
    On one line, whatever white space the name has.
    """
    name = " ".join(name.split()) or name
    plain = _without_accents(name)
    if not plain.strip():
        return name
    if _SIGN.fullmatch(plain):
        return f"the {name}"
    noun = _noun(plain)
    if _PAIRS.fullmatch(noun):
        return f"a pair of {name}"
    if plain[0].isdigit():  # the name of one model or event: a 110 hurdles
        return f"{indefinite(name)} {name}"
    several = _is_plural(noun) and not _ACRONYM.fullmatch(_last_word(plain))
    if _MASS.fullmatch(noun) or plain.lower() in _MASS_NAMES or several:
        return name
    return f"{indefinite(name)} {name}"


def alternatives(names: Sequence[str], glosses: Sequence[str] = ()) -> str:
    """["trout", "carp", "eel"] as "a trout, a carp or an eel"; "" for none.

    Where a name has a comma or an "or" itself: "a highway or road; a river; or a sea or lake".

    Args:
        glosses: what each of them means, which follows it in brackets; "": not known. (): none is.
    """
    meanings = [f" ({gloss})" if gloss else "" for gloss in glosses] or [""] * len(names)
    mentions = [with_article(name) + text for name, text in zip(names, meanings, strict=True)]
    *first, last = mentions or [""]
    if not first:
        return last
    if any(_LISTS.search(name) for name in names):
        return f"{'; '.join(first)}; or {last}"
    return f"{', '.join(first)} or {last}"


def indefinite(text: str) -> str:
    """ "a" or "an", by the sound of what follows it: "hourglass", "unicycle", "SUV"."""
    return "an" if _begins_with_vowel(_without_accents(text)) else "a"


def plural(name: str) -> str:
    """ "fox" -> "foxes"; what is a plural already stays: "binoculars"."""
    noun = _noun(_without_accents(name))
    several = _PAIRS.fullmatch(noun) or _is_plural(noun)
    return name if several else str(_inflect().plural_noun(name))


def _without_accents(name: str) -> str:
    decomposed = unicodedata.normalize("NFD", name)
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def _noun(plain: str) -> str:
    return _last_word(plain).lower()


def _last_word(plain: str) -> str:
    """The noun that decides, as it is written."""
    return (_AFTER_NOUN.split(plain)[0].split() or [plain])[-1]


def _is_plural(noun: str) -> bool:
    """Whether a lower-case word names several things; inflect also thinks so of "abacus"."""
    if noun in _IRREGULAR:
        return True
    ends_so = noun.endswith("s") and not noun.endswith(("ss", "us", "is"))
    return ends_so and not _ONE.fullmatch(noun) and bool(_inflect().singular_noun(noun))


def _begins_with_vowel(plain: str) -> bool:
    if number := re.match(r"\d+", plain):
        return number[0].startswith("8") or bool(_ELEVEN_OR_EIGHTEEN.fullmatch(number[0]))
    spelled = _SPELLED.match(plain)
    if (spelled and not _SPOKEN.fullmatch(spelled[1])) or _SPELLED_SO.match(plain):
        return plain[0].lower() in "aefhilmnorsx"
    return str(_inflect().a(plain)).startswith("an ")


@cache
def _inflect() -> Any:
    from inflect import engine  # slow to import: only where a name is put in

    return engine()
