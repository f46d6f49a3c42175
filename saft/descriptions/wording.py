"""How the sentences of an artifact are worded, and which repeat each other: what prompts forbid and
models do nevertheless."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from pipeline.filtering.cleaning import Cleaned, plain_sentence
from pipeline.filtering.naming import has_pronoun_for_name, names_class
from pipeline.filtering.subject_matter import unseen_topics
from pipeline.filtering.unfinished import has_several_sentences
from pipeline.filtering.word_lists import NON_VISUAL

ClassRows = Mapping[str, Sequence[Mapping[str, Any]]]  # as in saft.descriptions.datasheet


def wording(class_rows: ClassRows) -> dict[str, Any]:
    """Of all sentences, with no regard to what cleaning drops, the number of those

    `without_name` of their class (`pronoun`: one stands in its place), `non_visual` (words on
    use, taste, habitat, history or temperament and none on looks, with a count for each topic,
    of which a sentence may have several), and with `several_sentences` in one.
    """
    texts = [
        (plain_sentence(row["sentence"]), row["class_name"])
        for rows in class_rows.values()
        for row in rows
    ]
    topics = [unseen_topics(text) for text, _ in texts]
    counts = Counter(topic for of_text in topics for topic in of_text)
    return {
        "without_name": sum(not names_class(text, name) for text, name in texts),
        "pronoun": sum(has_pronoun_for_name(text, name) for text, name in texts),
        "non_visual": {"sentences": sum(map(bool, topics))}
        | {topic: counts[topic] for topic in NON_VISUAL},
        "several_sentences": sum(has_several_sentences(text) for text, _ in texts),
    }


def duplicates(class_rows: ClassRows, verdicts: Mapping[str, Sequence[Cleaned]]) -> dict[str, Any]:
    """Repeats, the first one never counted.

    `exact`: equal to an earlier sentence of the class, letter by letter; `near`: the others
    that cleaning takes for repeats; `shared`: sentences that several classes have, and the
    `examples` with most classes.
    """
    exact, near = 0, 0
    classes_of: dict[str, dict[str, None]] = {}  # sentence -> ids of its classes, in order
    for class_id, rows in class_rows.items():
        seen: set[str] = set()
        for row, verdict in zip(rows, verdicts[class_id], strict=True):
            text = row["sentence"]
            if text in seen:
                exact += 1
            elif verdict.reason in ("duplicate", "near_duplicate"):
                near += 1
            seen.add(text)
            classes_of.setdefault(text, {})[class_id] = None
    return {"exact": exact, "near": near, "shared": _shared(classes_of)}


def counted(figures: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """(label, sentences, remark) of what `wording` and the datasheet's `duplicates` count."""
    counts, repeats = figures["wording"], figures["duplicates"]
    topics = [f"{name} {counts['non_visual'][name]}" for name in NON_VISUAL]
    pronouns = f"do not name the class; {counts['pronoun']} have a pronoun for it"
    return [
        ("no name", counts["without_name"], pronouns),
        ("not visual", counts["non_visual"]["sentences"], f"({', '.join(topics)})"),
        ("several in one", counts["several_sentences"], "hold more than one sentence"),
        (
            "repeats",
            repeats["exact"] + repeats["near"],
            "say what an earlier one of the class does",
        ),
    ]


def _shared(classes_of: Mapping[str, Mapping[str, None]]) -> dict[str, Any]:
    shared = [(text, list(ids)) for text, ids in classes_of.items() if len(ids) > 1]
    shared.sort(key=lambda item: (-len(item[1]), item[0]))
    return {
        "sentences": len(shared),
        "classes": len(set(chain.from_iterable(ids for _, ids in shared))),
        "examples": [{"sentence": text, "classes": ids} for text, ids in shared[:3]],
    }
