"""Match the keys of a published file to classes: by decision, id or name, never by a guess.

| tier         | a class and a key belong together because                                |
|--------------|--------------------------------------------------------------------------|
| `alias`      | the user decided so: one key, several, or none                           |
| `id`         | the key is the class id (a wnid, say)                                    |
| `name`       | the key is the display name, letter for letter                           |
| `normalised` | they are equal but for case, accents, punctuation and white space        |
| `synonym`    | a name between the commas of one ("tench, Tinca tinca") is in the other  |

A class takes the first tier on which it finds a key. There it must find one only, and no
other class the same one (crane, the bird and the machine); otherwise all of them stay
undecided. A key that a higher tier matched or left undecided is not available to the lower ones;
only by decision may several classes share one. A part of a name is never enough: "ant" is
not "elephant".
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
_WITHIN_A_PHRASE = 0.95  # weight of equal words among others ("reel", "fishing casting reel")
_ALIKE = 40  # of 100: keys that are less similar are not proposed


@dataclass(frozen=True)
class Match:
    """The keys of one class (none only by decision) and the tier that gave them."""

    keys: tuple[str, ...]
    tier: str


@dataclass(frozen=True)
class Undecided:
    """A class that has no key, why, and the keys to choose from, best first."""

    class_entry: ClassEntry
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
    ids = [class_entry.class_id for class_entry in classes]
    matches = {i: Match(tuple(decisions[i]), "alias") for i in ids if i in decisions}
    closed = {key for class_match in matches.values() for key in class_match.keys}
    failed: dict[str, tuple[str, list[str]]] = {}
    for tier in TIERS[1:]:
        unmatched = [c for c in classes if c.class_id not in matches and c.class_id not in failed]
        claims = _claims(tier, unmatched, [key for key in keys if key not in closed])
        claimants = _claimants(claims)
        for class_id, class_keys in claims.items():
            reason = _conflict(class_id, class_keys, claimants)
            if reason:
                failed[class_id] = reason, class_keys
            else:
                matches[class_id] = Match((class_keys[0],), tier)
        closed |= claimants.keys()
    unmatched_classes = [
        class_entry for class_entry in classes if class_entry.class_id not in matches
    ]
    return {i: matches[i] for i in ids if i in matches}, _undecided(unmatched_classes, failed, keys)


@cache
def normalise(name: str) -> str:
    """`name` in lower case without accents and punctuation; `_`, `-`, `/` become spaces,
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
    full_ratio = process.cdist(words, choices, scorer=fuzz.ratio)
    token_ratio = process.cdist(words, choices, scorer=fuzz.token_set_ratio)
    scores = np.maximum(full_ratio, _WITHIN_A_PHRASE * token_ratio).max(axis=0)
    best = np.argsort(-scores, kind="stable")[:count]
    return [keys[index] for index in best if scores[index] >= _ALIKE]


# tier -> what a class is looked for by, what a key is found by
_FORMS: dict[str, tuple[Callable[[ClassEntry], list[str]], Callable[[str], list[str]]]] = {
    "id": (lambda class_entry: [class_entry.class_id], lambda key: [key]),
    "name": (lambda class_entry: [class_entry.name], lambda key: [key]),
    "normalised": (lambda class_entry: [normalise(class_entry.name)], lambda key: [normalise(key)]),
    "synonym": (lambda class_entry: synonyms(class_entry.name), synonyms),
}
TIERS = ("alias", *_FORMS)


def _claims(tier: str, classes: Sequence[ClassEntry], keys: Sequence[str]) -> Claims:
    """The keys that each class finds on `tier`, in the order of its names."""
    of_class, of_key = _FORMS[tier]
    index = defaultdict(list)
    for key in keys:
        for form in of_key(key):
            index[form].append(key)
    index.pop("", None)  # the form of names that are only punctuation
    keys_of = {
        class_entry.class_id: [key for form in of_class(class_entry) for key in index.get(form, ())]
        for class_entry in classes
    }
    return {
        class_id: list(dict.fromkeys(class_keys))
        for class_id, class_keys in keys_of.items()
        if class_keys
    }


def _claimants(claims: Claims) -> Claims:
    """Key -> ids of the classes that claim it."""
    classes_of = defaultdict(list)
    for class_id, class_keys in claims.items():
        for key in class_keys:
            classes_of[key].append(class_id)
    return classes_of


def _conflict(class_id: str, class_keys: Sequence[str], claimants: Claims) -> str | None:
    """Why the class cannot have what it claims; None: it can."""
    if len(class_keys) > 1:
        return f"fits {len(class_keys)} keys"
    other_ids = [other for other in claimants[class_keys[0]] if other != class_id]
    return f"fits the same key as {', '.join(other_ids)}" if other_ids else None


def _undecided(
    classes: Sequence[ClassEntry],
    failed: Mapping[str, tuple[str, Sequence[str]]],
    keys: Sequence[str],
) -> list[Undecided]:
    """Candidates are the keys that a class claims, then what looks like its name."""
    undecided = []
    for class_entry in classes:
        reason, class_keys = failed.get(class_entry.class_id, ("fits no free key", ()))
        candidates = tuple(dict.fromkeys([*class_keys, *nearest(class_entry.name, keys)]))
        undecided.append(
            Undecided(class_entry, reason, candidates[: max(len(class_keys), CANDIDATES)])
        )
    return undecided


def _plain(char: str) -> str:
    category = unicodedata.category(char)
    if char == "/" or category in _SPACES:
        return " "
    return "" if category.startswith(_DROPPED) or char in "ʻʼ" else char
