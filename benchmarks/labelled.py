"""The sentences that were labelled by hand, and all others of their classes: data/labels/."""

from pathlib import Path

LABELS = Path("data/labels/sentences.tsv")
SENTENCES = Path("data/labels/llm")
COLUMNS = ("prompt_set", "class_id", "index", "label", "second_label", "sentence")
