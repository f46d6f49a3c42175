"""False sentences made from true ones: a neighbour's, renamed, and one word exchanged."""

import random
import re
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from benchmarks.labelled import VISUAL, Corpus, Sentence
from pipeline.descriptions.articles import indefinite, plural
from pipeline.filtering.ranking import NEIGHBOURS

HARD, EDIT = "hard negative", "edit"  # labels; of an edit with its kind behind
SEED = 15
# A word is exchanged for another of its table, singular or plural as it is. Words of nearly the
# same meaning (sea, ocean; metal, steel) are not both there, or an edit could be true.
TABLES = {
    "colour": ("red orange yellow green turquoise blue purple pink black white brown grey",),
    "count": ("two three four five six seven eight nine ten",),
    "material": (
        "wood metal plastic leather glass rubber wool cotton canvas straw paper brick clay",
    ),
    "place": (
        "water forest desert sky grass street kitchen factory river",
        "cities gardens homes swamps rivers towns deserts",
    ),
}
# Parts are exchanged with those of the other row: a bird has no lid, a bucket no wings.
PARTS = (
    ("tail snout head beak mouth proboscis", "legs eyes ears wings fins limbs antennae nostrils"),
    (
        "handle roof lid drawer keypad screen display mirror canopy brim frame base collar buckle "
        "outline tip hole bar stroke disc",
        "wheels windows beads pipes corners lobes strokes points buttons stones",
    ),
)
# "without any corners": an edit of what is not there would be true
_DENIED = re.compile(r"\b(?:no|not|without)(?: \w+){0,2} $", re.IGNORECASE)


def attribute_edits(corpus: Corpus) -> list[Sentence]:
    """Each true and visual sentence with one word exchanged: a colour, number, material, place or
    part outside the name of its class and not behind a "no" or "without"; once for every kind of
    which it has a word.

    For example of `bee` "A bee has a yellow body." may become "A bee has a purple body."
    """
    generator = random.Random(SEED)
    names = {class_entry.class_id: class_entry.name for class_entry in corpus.classes}
    edits = []
    for origin, sentence in enumerate(corpus.sentences):
        if sentence.label == VISUAL:
            texts = edited(sentence.text, names[sentence.class_id], generator)
            edits += [
                Sentence(sentence.class_id, edit, f"{EDIT}: {kind}", origin)
                for kind, edit in texts.items()
            ]
    return edits


def edited(text: str, name: str, generator: random.Random) -> dict[str, str]:
    """kind -> the sentence with one word exchanged, for every kind of word that it has. The word is
    drawn, and its replacement, which neither the sentence nor the name has yet."""
    named = [match.span() for match in _name_pattern(name).finditer(text)]
    words_of: dict[str, list[re.Match[str]]] = {}
    for match in re.finditer(r"[A-Za-z]+", text):
        inside = any(start <= match.start() < end for start, end in named)
        denied = _DENIED.search(text[: match.start()])
        if match[0].lower() in _kinds() and not inside and not denied:
            words_of.setdefault(_kinds()[match[0].lower()][0], []).append(match)
    present = set(re.findall(r"[a-z]+", f"{text} {name}".lower()))
    texts = {}
    for kind in sorted(words_of):
        word = generator.choice(words_of[kind])
        others = [other for other in _kinds()[word[0].lower()][1] if other not in present]
        new = _cased(generator.choice(others), word[0])
        texts[kind] = _with_article(text[: word.start()], new) + text[word.end() :]
    return texts


def hard_negatives(corpus: Corpus, name_features: np.ndarray) -> list[Sentence]:
    """As many for each class as it has true and visual sentences: those of the NEIGHBOURS nearest
    classes (by the names' CLIP features) that have some, one of each in turn, renamed.

    What the class says itself is left out. No draw: the neighbours depend on the CLIP alone.
    """
    names = [class_entry.name for class_entry in corpus.classes]
    visual: dict[str, list[str]] = {}
    for sentence in corpus.sentences:
        if sentence.label == VISUAL:
            visual.setdefault(sentence.class_id, []).append(sentence.text)
    similarities = name_features @ name_features.T
    planted = []
    for label, class_entry in enumerate(corpus.classes):
        own_texts = visual.get(class_entry.class_id, [])
        order = [int(other) for other in np.argsort(-similarities[label], kind="stable")]
        near = [o for o in order if o != label and corpus.classes[o].class_id in visual]
        lists = [
            [
                renamed(text, names[o], class_entry.name)
                for text in visual[corpus.classes[o].class_id]
            ]
            for o in near[:NEIGHBOURS]
        ]
        candidates = [text for text in _in_turn(lists) if text not in own_texts]
        planted += [
            Sentence(class_entry.class_id, text, HARD)
            for text in list(dict.fromkeys(candidates))[: len(own_texts)]
        ]
    return planted


def renamed(text: str, old: str, new: str) -> str:
    """The sentence with the name of a class exchanged, singular or plural, and the article
    before it: "An ox has horns." with ox, goat: "A goat has horns."

    Where the whole name does not occur, its last word is exchanged for the last of the new one;
    where that does not occur either, the sentence stays as it is.
    """
    for before, after in ((old, new), (old.split()[-1], new.split()[-1])):
        pattern = _name_pattern(before)
        if pattern.search(text):
            return _exchange(text, pattern, before, after)
    return text


def _exchange(text: str, pattern: re.Pattern[str], before: str, after: str) -> str:
    parts, end = "", 0
    for match in pattern.finditer(text):
        several = match[0].lower() != before.lower()
        word = plural(after) if several else after
        parts = _with_article(parts + text[end : match.start()], _cased(word, match[0]))
        end = match.end()
    return parts + text[end:]


def _with_article(before: str, word: str) -> str:
    """`before` and `word`, with the article that ends `before` made to fit the word."""
    article = re.search(r"\b([Aa])n? $", before)
    if not article:
        return before + word
    fitting = article[1] + indefinite(word.lower())[1:]
    return f"{before[: article.start()]}{fitting} {word}"


def _cased(word: str, like: str) -> str:
    return word[0].upper() + word[1:] if like[0].isupper() else word


def _in_turn(lists: Sequence[Sequence[str]]) -> list[str]:
    longest = max(map(len, lists), default=0)
    return [texts[i] for i in range(longest) for texts in lists if i < len(texts)]


def _name_pattern(name: str) -> re.Pattern[str]:
    forms = {name, plural(name), f"{name}s"}
    longest_first = sorted(forms, key=lambda form: (-len(form), form))
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, longest_first))})\b", re.IGNORECASE)


@cache
def _kinds() -> Mapping[str, tuple[str, list[str]]]:
    """word -> its kind, and what may stand in its place."""
    kinds = {
        word: (kind, [other for other in words.split() if other != word])
        for kind, rows in TABLES.items()
        for words in rows
        for word in words.split()
    }
    for first, second in zip(*PARTS, strict=True):
        kinds |= {word: ("part", second.split()) for word in first.split()}
        kinds |= {word: ("part", first.split()) for word in second.split()}
    return kinds
