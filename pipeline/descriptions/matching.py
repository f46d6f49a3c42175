"""Which key of somebody else's file is which class: by decision, id or name, never by a guess.

| tier         | a class and a key belong together because                                |
|--------------|--------------------------------------------------------------------------|
| `alias`      | the user decided so: one key, several, or none                           |
| `id`         | the key is the class id (a wnid, say)                                    |
| `name`       | the key is the display name, letter for letter                           |
| `normalised` | they are equal but for case, accents, punctuation and white space        |
| `synonym`    | a name between the commas of one ("tench, Tinca tinca") is in the other  |

A class takes the first tier on which it finds a key. There it must find one only, and no
other class the same one (crane, the bird and the machine); otherwise all of them stay
undecided. A key that a higher tier gave away or left undecided is closed to the lower ones;
only by decision may several classes share one. A part of a name is never enough: "ant" is
no elephant.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from rapidfuzz import fuzz, process

from pipeline.images.classes import ClassEntry

Decisions = Mapping[str, Sequence[str]]  # class id -> keys in order; no key: none on purpose
Claims = dict[str, list[str]]  # class id -> keys that it finds on a tier, at least one
CANDIDATES = 3  # keys shown for an undecided class

_ACCENTS = re.compile("[\u0300-\u036f]")
_ENUMERATION = re.compile(r",.*\s(?:and|or)\s")
_SPACES, _DROPPED = ("Pc", "Pd"), ("P", "Sk", "Cf")  # Unicode categories
_WITHIN_A_PHRASE = 0.95  # equal words beside others ("reel", "fishing casting reel"), at most 1
_ALIKE = 40  # of 100: what is less alike is no help


@dataclass(frozen=True)
class Match:
    """The keys of one class (none only by decision) and the tier that gave them."""

    keys: tuple[str, ...]
    tier: str


@dataclass(frozen=True)
class Undecided:
    """A class that was given no key, why, and the keys to choose from, best first."""

    entry: ClassEntry
    reason: str
    candidates: tuple[str, ...]


def match(
    classes: Sequence[ClassEntry], keys: Sequence[str], decisions: Decisions
) -> tuple[dict[str, Match], list[Undecided]]:
    """Matches by class id, and the other classes; both in the order of `classes`.

    Args:
        classes: with unique ids; names need not be unique.
        keys: of the file, each once.
        decisions: may name other ids too; its keys are taken as they are.
    """
    ids = [entry.class_id for entry in classes]
    matches = {i: Match(tuple(decisions[i]), "alias") for i in ids if i in decisions}
    closed = {key for given in matches.values() for key in given.keys}
    failed: dict[str, tuple[str, list[str]]] = {}
    for tier in TIERS[1:]:
        rest = [c for c in classes if c.class_id not in matches and c.class_id not in failed]
        claims = _claims(tier, rest, [key for key in keys if key not in closed])
        claimants = _claimants(claims)
        for class_id, wanted in claims.items():
            reason = _conflict(class_id, wanted, claimants)
            if reason:
                failed[class_id] = reason, wanted
            else:
                matches[class_id] = Match((wanted[0],), tier)
        closed |= claimants.keys()
    left = [entry for entry in classes if entry.class_id not in matches]
    return {i: matches[i] for i in ids if i in matches}, _undecided(left, failed, keys)


@cache
def normalise(name: str) -> str:
    """`name` in small letters without accents and punctuation; `_`, `-`, `/` become spaces,
    and a run of white space becomes one."""
    plain = _ACCENTS.sub("", unicodedata.normalize("NFKD", name).casefold())
    return " ".join("".join(map(_plain, unicodedata.normalize("NFC", plain))).split())


def synonyms(name: str) -> list[str]:
    """The normalised names between the commas of `name`, each once; of an enumeration ("black,
    white and red flag") only the whole."""
    if _ENUMERATION.search(name):
        return [normalise(name)]
    return [word for word in dict.fromkeys(map(normalise, name.split(","))) if word]


def nearest(name: str, keys: Sequence[str], count: int = CANDIDATES) -> list[str]:
    """Up to `count` keys that look like `name` or one of its synonyms, best first, equal ones
    in the order of `keys`; for people to choose from, never to be taken."""
    words, choices = [normalise(name), *synonyms(name)], [normalise(key) for key in keys]
    whole = process.cdist(words, choices, scorer=fuzz.ratio)
    part = process.cdist(words, choices, scorer=fuzz.token_set_ratio)
    scores = np.maximum(whole, _WITHIN_A_PHRASE * part).max(axis=0)
    best = np.argsort(-scores, kind="stable")[:count]
    return [keys[place] for place in best if scores[place] >= _ALIKE]


# tier -> what a class is looked for by, what a key is found by
_FORMS: dict[str, tuple[Callable[[ClassEntry], list[str]], Callable[[str], list[str]]]] = {
    "id": (lambda entry: [entry.class_id], lambda key: [key]),
    "name": (lambda entry: [entry.name], lambda key: [key]),
    "normalised": (lambda entry: [normalise(entry.name)], lambda key: [normalise(key)]),
    "synonym": (lambda entry: synonyms(entry.name), synonyms),
}
TIERS = ("alias", *_FORMS)


def _claims(tier: str, classes: Sequence[ClassEntry], keys: Sequence[str]) -> Claims:
    """The keys that each class finds on `tier`, in the order of its names."""
    of_class, of_key = _FORMS[tier]
    index = defaultdict(list)
    for key in keys:
        for form in of_key(key):
            index[form].append(key)
    index.pop("", None)  # a name of punctuation alone is like no other
    found = {
        entry.class_id: [key for form in of_class(entry) for key in index.get(form, ())]
        for entry in classes
    }
    return {class_id: list(dict.fromkeys(wanted)) for class_id, wanted in found.items() if wanted}


def _claimants(claims: Claims) -> Claims:
    """The other way round: key -> ids of the classes that claim it."""
    found = defaultdict(list)
    for class_id, wanted in claims.items():
        for key in wanted:
            found[key].append(class_id)
    return found


def _conflict(class_id: str, wanted: Sequence[str], claimants: Claims) -> str | None:
    """Why the class cannot have what it claims; None: it can."""
    if len(wanted) > 1:
        return f"fits {len(wanted)} keys"
    rivals = [other for other in claimants[wanted[0]] if other != class_id]
    return f"fits the same key as {', '.join(rivals)}" if rivals else None


def _undecided(
    classes: Sequence[ClassEntry],
    failed: Mapping[str, tuple[str, Sequence[str]]],
    keys: Sequence[str],
) -> list[Undecided]:
    """Candidates are the keys that a class claims, then what looks like its name."""
    found = []
    for entry in classes:
        reason, wanted = failed.get(entry.class_id, ("fits no free key", ()))
        candidates = tuple(dict.fromkeys([*wanted, *nearest(entry.name, keys)]))
        found.append(Undecided(entry, reason, candidates[: max(len(wanted), CANDIDATES)]))
    return found


def _plain(char: str) -> str:
    category = unicodedata.category(char)
    if char == "/" or category in _SPACES:
        return " "
    return "" if category.startswith(_DROPPED) or char in "ʻʼ" else char
