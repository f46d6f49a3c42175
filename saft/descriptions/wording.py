"""How the sentences of an artifact are worded: what prompts forbid and models do nevertheless."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.filtering.cleaning import plain_sentence
from pipeline.filtering.naming import has_pronoun_for_name, names_class
from pipeline.filtering.subject_matter import unseen_topics
from pipeline.filtering.unfinished import has_several_sentences
from pipeline.filtering.word_lists import NON_VISUAL


def wording(class_rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
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
