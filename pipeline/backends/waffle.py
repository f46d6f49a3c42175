"""Random words and characters behind the class name: sentences as long as others that say nothing.

After WaffleCLIP (Roth et al., ICCV 2023, arXiv 2306.07282), which found that such texts help
zero-shot classification as much as descriptors of a language model: a control for what descriptions
mean. The form is the released code's (github.com/ExplainableML/WaffleCLIP, waffle_tools.py):
"A photo of a {class}, which has {random}.", `dclip_clause` choosing the verb, random words and
groups of random characters in turn. It differs in

    length      there, of the average class name; here, of the class's own name, or as many tokens
                as the sentences of another file have
    words       there, any, cut to the length of an average word; here, whole nouns for what cannot
                be seen (scripts/waffle_words.py), each one token
    characters  there, all that occur in the descriptors; here, consonants, which make no word
    randomness  there, in mode `waffle`, the same for all classes (here `shared`), in mode
                `adaptive_randomness` of each class its own, by one generator for all; here by one
                for each sentence, so that no class changes another's
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

from pipeline.common.bounds import Few, PathText
from pipeline.common.errors import UserError
from pipeline.common.params import Section
from pipeline.common.text_files import read_text
from pipeline.descriptions.descriptors import dclip_clause
from pipeline.descriptions.input_files import below, digest
from pipeline.descriptions.interface import Answers, Sentence, Task
from pipeline.descriptions.published_file import read_published
from pipeline.descriptions.tokens import count_tokens
from pipeline.images.classes import ClassEntry

ASKS_MODEL = False
FOLDER = Path("data/inputs/waffle")
WORDS = "words.txt"
CONTENT = "random words and characters behind the class name, nothing else about the class"
CONSONANTS = "bcdfghjklmnpqrstvwz"  # "xxxx" stands for a word that is left out
CONTEXT = 77  # tokens that CLIP reads, with start and end: no sentence is made longer
FEWEST = 4  # characters of a group: fewer are often an abbreviation, as "mt"
DRAWS = 100  # of a sentence, until its class has it not yet


class Params(Section):
    """`describe.options.waffle`."""

    sentences: Few
    lengths: Annotated[PathText, below(FOLDER)] | None
    shared: bool


class Draw(NamedTuple):
    """What a sentence is filled with, its parts joined by `separator`: `part` draws one of the
    usual length, `filler` one of a single token."""

    kind: str
    separator: str
    part: Callable[[], str]
    filler: Callable[[], str]


def describe(task: Task, params: Params) -> Answers:
    """`sentences` sentences per class, in turn of source "waffle, words" and "waffle, characters".

    Raises:
        UserError: a file is missing or broken, a class has too few sentences in `lengths`, or
            there are not that many different ones.
    """
    words = _words()
    lengths = _lengths(task.classes, params) if params.lengths else {}
    sentences = [
        sentence
        for class_entry in task.classes
        for sentence in _sentences(
            class_entry, lengths.get(class_entry.class_id), words, task.seed, params
        )
    ]
    provenance = {"content": CONTENT, "seed": task.seed, "shared": params.shared, "words": WORDS}
    provenance["words_sha256"] = digest(FOLDER / WORDS)
    if params.lengths:
        provenance |= {"lengths": params.lengths, "lengths_sha256": digest(FOLDER / params.lengths)}
        provenance["of_other_length"] = _of_other_length(sentences, lengths)
    return Answers(sentences, provenance)


def _sentences(
    class_entry: ClassEntry, lengths: Sequence[int] | None, words: Sequence[str], seed: int,
    params: Params,
) -> Iterator[Sentence]:  # fmt: skip
    """The sentences of one class, all different; lengths: tokens of each, None: by the name."""
    made: set[str] = set()
    for index in range(params.sentences):
        owner = "" if params.shared else class_entry.class_id
        draw = _draw(index, class_entry.name, words, random.Random(f"{seed} {index} {owner}"))
        for _ in range(DRAWS):
            length = lengths[index] if lengths else None
            text = _sentence(class_entry.name, _filling(class_entry.name, draw, length))
            if text not in made:
                break
        else:
            raise UserError(
                f"params.yaml: describe.options.waffle.sentences: no {params.sentences} different "
                f"ones for class '{class_entry.class_id}'; lower it, or set lengths"
            )
        made.add(text)
        yield Sentence(class_entry.class_id, text, f"waffle, {draw.kind}", sample_index=index)


def _draw(index: int, name: str, words: Sequence[str], rng: random.Random) -> Draw:
    """Words for even sentences, groups of characters for odd ones, as long as the name's words."""

    def word() -> str:
        return rng.choices(words)[0]

    def characters(count: int) -> str:
        return "".join(rng.choices(CONSONANTS, k=count))

    if index % 2 == 0:
        return Draw("words", " ", word, word)
    parts = name.split()
    size = max(FEWEST, max(map(len, parts)) // len(parts) + 1)
    return Draw("characters", ", ", lambda: characters(size), lambda: characters(1))


def _filling(name: str, draw: Draw, length: int | None) -> str:
    """As many parts as the name has words, or as make the sentence `length` tokens long."""
    if length is None:
        return draw.separator.join(draw.part() for _ in name.split())
    filling = draw.part()
    if _tokens(name, filling) > length:
        filling = draw.filler()
    while _tokens(name, longer := f"{filling}{draw.separator}{draw.part()}") <= length:
        filling = longer
    while _tokens(name, filling) < length:
        filling = f"{filling} {draw.filler()}"
    return filling


def _sentence(name: str, filling: str) -> str:
    return f"A photo of a {name}, {dclip_clause(filling)}."


def _tokens(name: str, filling: str) -> int:
    return count_tokens([_sentence(name, filling)])[0]


def _words() -> list[str]:
    """The words of WORDS, without the lines that begin with "#"."""
    path = FOLDER / WORDS
    try:
        words = [line for line in read_text(path).split("\n") if line and line[0] != "#"]
    except FileNotFoundError:
        raise UserError(f"{path}: not found; `git checkout {path}` brings it back") from None
    if not words:
        raise UserError(f"{path}: holds no word; `git checkout {path}` brings them back")
    return words


def _lengths(classes: Sequence[ClassEntry], params: Params) -> dict[str, list[int]]:
    """Class id -> tokens of its first `sentences` sentences in the file, by its id or name."""
    path = FOLDER / str(params.lengths)
    sentences_of = read_published(path)
    lengths = {}
    for class_entry in classes:
        of_class = sentences_of.get(class_entry.class_id) or sentences_of.get(class_entry.name, [])
        texts = [sentence.text for sentence in of_class if sentence.text.strip()]
        if len(texts) < params.sentences:
            raise UserError(
                f"{path}: {len(texts)} sentences for class '{class_entry.class_id}' and "
                f"describe.options.waffle.sentences is {params.sentences}; lower that, add some, "
                "or set lengths: null"
            )
        counts = count_tokens(texts[: params.sentences])
        lengths[class_entry.class_id] = [min(count, CONTEXT) for count in counts]
    return lengths


def _of_other_length(sentences: Sequence[Sentence], lengths: Mapping[str, Sequence[int]]) -> int:
    """How many are longer than asked for: the name alone fills that length."""
    counts = count_tokens([sentence.text for sentence in sentences])
    return sum(
        count != lengths[sentence.class_id][sentence.sample_index]
        for sentence, count in zip(sentences, counts, strict=True)
    )
