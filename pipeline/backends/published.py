"""Published descriptions: CuPL, the SAFT release, descriptors, an artifact of this pipeline.

Their keys are matched to class ids by `descriptions/matching.py`. A class that stays undecided is
an error: all of them are printed as JSON lines for the aliases file, to be decided by hand.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, model_validator

from pipeline.common.bounds import PathText
from pipeline.common.errors import UserError
from pipeline.common.params import Section
from pipeline.descriptions.aliases import read_decisions, refuse_undecided
from pipeline.descriptions.artifact import LONE_SURROGATE
from pipeline.descriptions.descriptors import dclip_clause
from pipeline.descriptions.input_files import below, digest
from pipeline.descriptions.interface import Answers, Sentence, Task
from pipeline.descriptions.matching import TIERS, Match, match
from pipeline.descriptions.published_file import read_object, read_published
from pipeline.descriptions.sources import PROVENANCE
from pipeline.images.classes import ClassEntry

ASKS_MODEL = False
FOLDER = Path("data/inputs/published")
EXACT = ("id", "name")  # tiers whose matches need no check
_SLOT = re.compile(r"\{(\w*)\}")


def _both_slots(text: str) -> str:
    if {*_SLOT.findall(text)} != {"class", "text"}:
        raise ValueError("needs the slots {class} and {text} and no other")
    return text


Inside = Annotated[PathText, below(FOLDER)]


class Params(Section):
    """`describe.options.published`."""

    file: Inside
    aliases: Inside
    descriptor_template: Annotated[str, AfterValidator(_both_slots)] | None
    descriptor_grammar: Literal["dclip"] | None = None

    @model_validator(mode="after")
    def _needs_a_template(self) -> "Params":
        if self.descriptor_grammar and not self.descriptor_template:
            raise ValueError(
                "descriptor_grammar is for descriptors: set descriptor_template, for DCLIP's "
                "'{class}, {text}'"
            )
        return self


def describe(task: Task, params: Params) -> Answers:
    """The file's sentences for the classes of `task`, in their order; source "published" or
    what the file says. A class whose list is empty has none.

    Raises:
        UserError: a file is missing, broken or of another form, a decision is not a key of the
            file, or a class is undecided.
    """
    path, aliases = FOLDER / params.file, FOLDER / params.aliases
    sentences_of = read_published(path)
    # all classes: a name can be ambiguous because of a class that is not described
    table = task.table or task.classes
    decisions = read_decisions(aliases, table, path, list(sentences_of))
    matches, undecided = match(table, list(sentences_of), decisions)
    class_ids = {class_entry.class_id for class_entry in task.classes}
    if refused_classes := [case for case in undecided if case.class_entry.class_id in class_ids]:
        refuse_undecided(refused_classes, len(class_ids), path, aliases)
    matches = {i: class_match for i, class_match in matches.items() if i in class_ids}
    sentences = [
        _filled(sentence, class_entry, params)
        for class_entry in task.classes
        for sentence in _joined(sentences_of[key] for key in matches[class_entry.class_id].keys)
    ]
    files = {
        "file": params.file,
        "sha256": digest(path),
        "aliases": params.aliases,
        "aliases_sha256": digest(aliases),
        "descriptor_template": params.descriptor_template,
    }
    if params.descriptor_grammar:
        files["descriptor_grammar"] = params.descriptor_grammar
    return Answers(sentences, files | _account(matches, sentences_of) | _origin(path))


def _origin(path: Path) -> dict[str, Any]:
    """How an artifact of this pipeline was made, if there is a provenance.json in its folder."""
    provenance_file = path.with_name(PROVENANCE.name)
    if path.suffix != ".parquet" or not provenance_file.exists():
        return {}
    origin = read_object(provenance_file)
    if LONE_SURROGATE.search(json.dumps(origin, ensure_ascii=False)):
        raise UserError(f"{provenance_file}: holds half a character, such as a cut emoji; fix it")
    return {"origin": origin}


def _joined(parts: Iterable[Sequence[Sentence]]) -> list[Sentence]:
    """One key's sentences after the other's; the samples of a prompt are counted on."""
    joined: list[Sentence] = []
    count: Counter[tuple[str, str, str]] = Counter()
    for part in parts:
        before = count.copy()
        for sentence in part:
            prompt = sentence.source, sentence.prompt_set, sentence.prompt_id
            index = before[prompt] + sentence.sample_index
            count[prompt] = max(count[prompt], index + 1)
            joined.append(replace(sentence, sample_index=index))
    return joined


def _filled(sentence: Sentence, class_entry: ClassEntry, params: Params) -> Sentence:
    """The sentence for this class; a descriptor, unless it is blank, put into the template."""
    text = sentence.text
    if params.descriptor_template is not None and text.strip():
        clause = dclip_clause(text.strip()) if params.descriptor_grammar else text
        slots = {"class": class_entry.name, "text": clause}
        text = _SLOT.sub(lambda slot: slots[slot[1]], params.descriptor_template)
    return replace(sentence, class_id=class_entry.class_id, text=text)


def _account(
    matches: Mapping[str, Match], sentences_of: Mapping[str, Sequence[Sentence]]
) -> dict[str, Any]:
    """For provenance.json: how many classes matched on which tier, and which matches to check."""
    mapping: dict[str, dict[str, Any]] = {tier: {} for tier in TIERS if tier not in EXACT}
    for class_id, class_match in matches.items():
        if class_match.tier in mapping:
            keys = class_match.keys
            mapping[class_match.tier][class_id] = (
                list(keys) if len(keys) > 1 else next(iter(keys), None)
            )
    matched = Counter(
        class_match.tier if class_match.keys else "none" for class_match in matches.values()
    )
    used = {key for class_match in matches.values() for key in class_match.keys}
    return {
        "matched": {tier: matched[tier] for tier in (*TIERS, "none")},
        "mapping": mapping,
        "empty": [i for i, m in matches.items() if m.keys and not _any(m.keys, sentences_of)],
        "unused_keys": len(sentences_of.keys() - used),
    }


def _any(keys: Iterable[str], sentences_of: Mapping[str, Sequence[Sentence]]) -> bool:
    return any(sentence.text.strip() for key in keys for sentence in sentences_of[key])
