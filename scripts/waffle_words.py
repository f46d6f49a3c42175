"""Make the inputs of `describe.backend: waffle`, below data/inputs/waffle/.

`python scripts/waffle_words.py words WORDNET`: words.txt, nouns for what cannot be seen, so that a
random word says little about looks, each one token of OpenAI's CLIP, so that sentences can be as
long as others. WORDNET is the folder with WordNet 3.0's data.noun, as for scripts/hypernyms.py.

`python scripts/waffle_words.py lengths`: demo.json, the sentences that `filter` kept of each class,
the closest first, whose lengths the random ones get. After `dvc repro stages/dvc.yaml:filter` on
the demo's params.yaml.
"""

import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pipeline.backends.waffle import FOLDER, WORDS
from pipeline.descriptions.tokens import count_tokens
from pipeline.filtering.cleaning import CleaningParams, clean
from pipeline.zeroshot.text_tables import KEPT, TextTable, read_table_of

LENGTHS = "demo.json"
HEADER = """\
# Part of WordNet 3.0 (Princeton University), see pipeline/results/wordnet/LICENSE: nouns whose
# every sense is abstract, each one token of OpenAI's CLIP. Made by scripts/waffle_words.py.
"""
# WordNet's lexicographer files, lexnames(5WN): cognition, feeling, motive, possession, process,
# quantity, relation, state, time
ABSTRACT = {9, 12, 16, 21, 22, 23, 24, 26, 28}
STRICT = CleaningParams(
    min_words=1,
    near_duplicate=0.01,  # of any two sentences: are their words different spellings of one?
    too_long="drop",
    several_sentences="drop",
    needs_name="keep",
)


def abstract_nouns(lines: Iterable[str]) -> list[str]:
    """Sorted words of four and more lower-case letters, all senses of which are ABSTRACT; of what
    may be a plural ("crabs"), the senses of the singular too.

    Args:
        lines: of data.noun, see wndb(5WN).
    """
    files: defaultdict[str, set[int]] = defaultdict(set)
    for line in lines:
        if not line.startswith(" "):  # the licence
            fields = line.split(" | ")[0].split()
            for word in fields[4 : 4 + 2 * int(fields[3], 16) : 2]:
                files[word].add(int(fields[1]))
    return sorted(
        word
        for word, senses in files.items()
        if re.fullmatch("[a-z]{4,}", word)
        and senses | files.get(word.removesuffix("s"), set()) <= ABSTRACT
    )


def that_pass(words: Sequence[str]) -> list[str]:
    """The words with which cleaning drops no sentence: neither "null", which it takes for code,
    nor one that it takes for another spelling of an earlier one."""
    cleaned = clean([f"A photo, which has {word}." for word in words], STRICT, 77, count_tokens)
    return [word for word, result in zip(words, cleaned, strict=True) if result.reason is None]


def sentences_of(kept: TextTable) -> dict[str, list[str]]:
    """Class id -> its texts, in the order of the table."""
    sentences: dict[str, list[str]] = {}
    for class_id, text in zip(kept.class_ids, kept.texts, strict=True):
        sentences.setdefault(class_id, []).append(text)
    return sentences


def as_json(sentences: Mapping[str, Sequence[str]]) -> str:
    """A line for each class."""
    lines = (f" {json.dumps(key)}: {json.dumps(texts)}" for key, texts in sentences.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def write_words(folder: Path) -> None:
    nouns = abstract_nouns((folder / "data.noun").read_text(encoding="ascii").splitlines())
    one_token = [w for w, n in zip(nouns, count_tokens(nouns), strict=True) if n == 3]
    text = HEADER + "".join(f"{word}\n" for word in that_pass(one_token))
    (FOLDER / WORDS).write_text(text, encoding="ascii")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["words", wordnet]:
            write_words(Path(wordnet))
        case ["lengths"]:
            text = as_json(sentences_of(read_table_of(KEPT)))
            (FOLDER / LENGTHS).write_text(text, encoding="utf-8")
        case _:
            sys.exit(__doc__)
