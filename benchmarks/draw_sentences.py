"""Draw the sentences that data/labels/sentences.tsv labels, without their labels.

    python -m benchmarks.draw_sentences

Prints the table: for every prompt set some classes, and of each class the same number of
sentences, from the first to the last of its list in equal parts.
"""

import csv
import json
import random
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import typer

from benchmarks.labelled import COLUMNS, SENTENCES

SEED = 15
WORDS = range(3, 31)  # shorter ones are fragments; 30 is what the prompts ask for at most


class Stratum(NamedTuple):
    """How many classes of a prompt set, and how many parts of a class's list, and how many
    sentences of each part."""

    classes: int
    parts: int
    sentences: int


STRATA = {"saft-m": Stratum(50, 2, 2), "cupl": Stratum(20, 1, 3), "visual": Stratum(10, 1, 4)}


def candidates(sentences: Sequence[str], parts: int) -> list[list[int]]:
    """Numbers of the sentences of fitting length, the first of equal ones, in equal parts of
    the list: of ten sentences in 2 parts 0..4 and 5..9 (the answers to saft-m's two questions)."""
    plain = [" ".join(sentence.split()) for sentence in sentences]
    fitting = [
        index
        for index, text in enumerate(plain)
        if len(text.split()) in WORDS and plain.index(text) == index
    ]
    size = -(-len(plain) // parts)
    return [[index for index in fitting if index // size == part] for part in range(parts)]


def draw(
    sentences_of: dict[str, list[str]], stratum: Stratum, generator: random.Random
) -> Iterator[tuple[str, int]]:
    """Class ids with the number of a sentence, of classes that have enough in every part."""
    lists = {key: candidates(texts, stratum.parts) for key, texts in sorted(sentences_of.items())}
    enough = [key for key, parts in lists.items() if min(map(len, parts)) >= stratum.sentences]
    for key in sorted(generator.sample(enough, stratum.classes)):
        for part in lists[key]:
            yield from ((key, i) for i in sorted(generator.sample(part, stratum.sentences)))


def main() -> None:
    """Print the drawn sentences as TSV."""
    table = csv.writer(sys.stdout, delimiter="\t", lineterminator="\n")
    table.writerow(COLUMNS)
    generator = random.Random(SEED)
    for prompt_set, stratum in STRATA.items():
        sentences_of = json.loads((SENTENCES / f"{prompt_set}.json").read_text(encoding="utf-8"))
        for key, index in draw(sentences_of, stratum, generator):
            text = " ".join(sentences_of[key][index].split())
            table.writerow([prompt_set, key, index, "", "", "", text])


if __name__ == "__main__":
    typer.run(main)
