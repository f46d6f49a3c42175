"""What a sentence tells that no photograph shows: use, taste, habitat, history, temperament."""

from pipeline.filtering.word_lists import NON_VISUAL, VISUAL, any_of

_TOPICS = {topic: any_of(pattern) for topic, pattern in NON_VISUAL.items()}
_VISUAL = any_of(VISUAL)


def unseen_topics(text: str) -> list[str]:
    """The topics of NON_VISUAL that the text has words of, where it has no word of VISUAL.

    "Oranges are used to make juice." -> ["use"] but "An orange lamp is used to read." -> []
    """
    if _VISUAL.search(text):
        return []
    return [topic for topic, pattern in _TOPICS.items() if pattern.search(text)]
