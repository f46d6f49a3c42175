"""Rows of a descriptions artifact."""

from saft.descriptions import datasheet

BIRD, MACHINE = "A tall grey bird with long legs.", "A yellow machine that lifts loads."


def row(class_id: str, sentence: str, **changes: object) -> datasheet.Row:
    values = {
        "class_id": class_id,
        "class_name": "crane",
        "sentence": sentence,
        "prompt_set": "visual",
        "prompt_id": "parts",
        "sample_index": 0,
        "source": "vllm",
        "tokens": len(sentence.split()) + 2,
    }
    return values | changes


def class_rows(**texts: list[str]) -> dict[str, list[datasheet.Row]]:
    return {key: [row(key, text) for text in sentences] for key, sentences in texts.items()}
