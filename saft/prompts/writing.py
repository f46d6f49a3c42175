"""A language model is asked for the questions of a prompt set, which is written for review."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.common import names
from pipeline.common.atomic import replacing_file
from pipeline.common.errors import UserError
from pipeline.common.options import load_plugin
from pipeline.common.params import read_section
from pipeline.descriptions import session
from pipeline.descriptions.generation_params import GenerationParams
from pipeline.descriptions.interface import Answers, Task
from pipeline.descriptions.params import DescribeParams
from pipeline.descriptions.prompts import FOLDER, PromptSet, read_prompts
from pipeline.images.classes import ClassEntry
from saft.prompts.meta_prompt import MetaPrompt, read_meta_prompt
from saft.prompts.questions import LONGEST, usable_questions

META_PROMPT = "mpvr"
TOKENS = 40  # of a question, at most
RULES_OF = "visual"  # the prompt set whose rules and pictures a written one gets
HEADER = """\
# Questions that a language model wrote, see `origin`. Nothing is asked before somebody has read
# them, edited them where needed, and set `reviewed: true`.
"""
# What of provenance.json tells which model it was.
IDENTITY = ("model", "model_files", "revision", "commit", "served_by")


class _Request(PromptSet):
    """A message that stands as it is: no class is put into it."""

    text: str

    def message(self, *_: object, **__: object) -> str:
        return self.text


def path_of(name: str) -> Path:
    """The file of a new prompt set.

    Raises:
        UserError: it cannot be a name, or there is such a prompt set.
    """
    # `describe.prompts: null` or `12` would be no name in params.yaml
    if names.fault(name) or not isinstance(YAML(typ="safe").load(name), str):
        raise UserError(
            f"'{name}' cannot be the name of a prompt set; use a word of at most {names.LONGEST} "
            "letters, digits, - and _"
        )
    path = FOLDER / f"{name}.yaml"
    if path.exists():
        raise UserError(
            f"{path}: this prompt set exists and is not overwritten; choose another name, or edit "
            "it and raise its version"
        )
    return path


def write_prompts(name: str, about: str, count: int) -> tuple[Path, list[str]]:
    """Ask the model of `describe.backend` and write the prompt set; its file and its questions.

    Raises:
        UserError: the name is taken or none, nothing is said about the data set, the backend asks
            no model or cannot, or fewer than half of the questions can be used.
    """
    path = path_of(name)
    about = " ".join(about.split())
    if not about:
        raise UserError("--about is empty; describe the data set in a sentence")
    params = read_section("describe", DescribeParams)
    module, options = load_plugin(
        "pipeline.backends", "describe", "backend", params.backend, params.options
    )
    if not module.ASKS_MODEL:
        raise UserError(
            f"params.yaml: describe.backend: {params.backend} asks no model; set vllm or openai"
        )
    assert isinstance(options, GenerationParams), "of every backend that asks a model"
    meta, rules = read_meta_prompt(META_PROMPT), read_prompts(RULES_OF)
    options = _for_one_answer(options, count)
    request = _request(meta.message(about, count))
    with session.answer_log(params, module, options, request) as log:
        subject = [ClassEntry("questions", name)]
        answers = module.describe(Task(subject, name, request, {}, params.seed, log), options)
        questions = _usable(answers, count, options.model, meta.example)
        origin = {"about": about} | _origin(meta, answers, params.seed)
        path = path_of(name)  # again: it may be there by now
        _write(path, questions, rules, origin)
    return path, questions


def _for_one_answer(options: GenerationParams, count: int) -> GenerationParams:
    """The options with one answer of `count` questions, and tokens enough for it."""
    longest = options.max_tokens and max(options.max_tokens, TOKENS * count)
    return options.model_copy(update={"answers": 1, "sentences": count, "max_tokens": longest})


def _request(text: str) -> _Request:
    slots = {"questions": {"questions": "{}"}, "rules": "{}", "pictures": "{}"}
    return _Request.model_validate({"version": 1, "text": text, **slots})


def _usable(answers: Answers, count: int, model: str, example: str) -> list[str]:
    texts = [sentence.text for sentence in answers.sentences]
    questions = usable_questions(texts, count, example)
    if 2 * len(questions) >= count:
        return questions
    unusable = next((text for text in texts if not usable_questions([text], 1, example)), None)
    shown = f"; not usable is, for example, {unusable[:200]!r}" if unusable else ""
    raise UserError(
        f"{model} wrote {len(questions)} of {count} usable questions (one {{}} for the class, at "
        f"most {LONGEST} words, about looks){shown}; say more in --about, or take another "
        "describe.seed or model"
    )


def _origin(meta: MetaPrompt, answers: Answers, seed: int) -> dict[str, Any]:
    known = {key: answers.provenance.get(key) for key in IDENTITY}
    if served_by := known["served_by"]:
        known["served_by"] = sorted(served_by)
    return {
        "meta_prompt": {"name": META_PROMPT, "version": meta.version, "sha256": meta.digest()},
        "model": {key: value for key, value in known.items() if value is not None},
        "seed": seed,
    }


def _write(path: Path, questions: list[str], rules: PromptSet, origin: Mapping[str, Any]) -> None:
    values = {
        "version": 1,
        "questions": {f"q{number}": text for number, text in enumerate(questions, start=1)},
        "rules": rules.rules,
        "pictures": rules.pictures,
        "origin": origin,
        "reviewed": False,
    }
    yaml = YAML()
    yaml.width = 100
    with replacing_file(path) as partial, partial.open("w", encoding="utf-8") as stream:
        stream.write(HEADER)
        yaml.dump(values, stream)
