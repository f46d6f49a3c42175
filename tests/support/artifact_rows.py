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


def words(texts: list[str]) -> list[int]:
    """A tokenizer's counts: one token for a word, and two around them."""
    return [len(text.split()) + 2 for text in texts]


def figures(rows, classes=None, context=77, count_tokens=words):
    """What `saft descriptions show` has of an artifact with these rows."""
    sheet = datasheet.datasheet(rows, classes, datasheet.DEFAULT_CLEANING, context, count_tokens)
    sheet["cleaning"]["rules_from"] = "defaults"
    about = {"file": "x.parquet", "provenance": None, "class_table": "t" if classes else None}
    return about | sheet | {"filter": None}
