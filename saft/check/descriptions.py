"""How many classes will have descriptions, or whether the model that writes them can run."""

import contextlib
import io
import os
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pipeline.common.errors import UserError
from pipeline.common.options import load_plugin
from pipeline.descriptions.artifact import classes_without_sentence
from pipeline.descriptions.interface import Answers, Task
from pipeline.descriptions.params import classes_to_describe
from pipeline.descriptions.prompts import read_prompts
from pipeline.images.classes import ClassEntry
from saft.check.part import Part

if TYPE_CHECKING:
    from saft.check.plan import Plan


def descriptions(plan: "Plan") -> Part:
    """Part 4: the backend, and the classes that it would leave without enough sentences."""
    part, params = Part("descriptions"), plan.describe
    if not plan.runs.will("describe"):
        part.lines.append(f"backend {params.backend}: data/descriptions is up to date")
        return part
    module, options = load_plugin(
        "pipeline.backends", "describe", "backend", params.backend, params.options
    )
    known = plan.sets.get(params.dataset)
    entries = list(known.entries) if known else []
    if module.ASKS_MODEL:
        _asking(plan, part, options, len(entries) or (known.classes if known else None))
    elif not entries:
        part.lines.append(
            f"backend {params.backend}: coverage not checked: the images of '{params.dataset}' "
            f"({known.state if known else 'no such set'}) tell the classes; once they are there "
            "`saft check` says which are described"
        )
    else:
        _ready_made(plan, part, module, options, entries)
    return part


def _ready_made(
    plan: "Plan", part: Part, module: Any, options: Any, entries: list[ClassEntry]
) -> None:
    """The backend itself, which reads a file: what it gives, or its own error."""
    params = plan.describe
    try:
        classes = classes_to_describe(entries, params.only, f"set '{params.dataset}'")
        task = Task(
            classes, params.prompts, read_prompts(params.prompts), {}, params.seed, None, entries
        )
        with contextlib.redirect_stderr(io.StringIO()):  # the stage prints lines to complete
            answers = module.describe(task, options)
    except UserError as error:
        part.problems.append(str(error).replace(" (the lines to complete are printed above)",
                                                ": `dvc repro describe` prints them"))  # fmt: skip
        return
    empty = classes_without_sentence(answers, classes)
    part.values = {"classes": len(classes), "described": len(classes) - len(empty)}
    part.lines.append(
        f"backend {params.backend}: {len(answers.sentences)} sentences for "
        f"{len(classes) - len(empty)} of {len(classes)} classes{_tiers(answers)}"
    )
    if empty and params.empty_class == "error":
        part.problems.append(
            f"describe: no sentence for {len(empty)} of {len(classes)} classes, e.g. {empty[0]}; "
            "write some, or set describe.empty_class: allow"
        )
    _short(plan, part, answers, classes)


def _tiers(answers: Answers) -> str:
    matched = {k: v for k, v in answers.provenance.get("matched", {}).items() if v}
    return f", matched by {', '.join(f'{k} {v}' for k, v in matched.items())}" if matched else ""


def _short(plan: "Plan", part: Part, answers: Answers, classes: list[ClassEntry]) -> None:
    """Too few sentences even if the filter drops none."""
    counts = Counter(s.class_id for s in answers.sentences if s.text.strip())
    top_k = plan.filter.top_k
    few = [e.class_id for e in classes if 0 < counts[e.class_id] < top_k]
    if few and plan.filter.short_class == "error":
        part.problems.append(
            f"filter: {len(few)} classes have fewer than filter.top_k = {top_k} sentences, e.g. "
            f"{few[0]} ({counts[few[0]]}); lower it, or set filter.short_class"
        )


def _asking(plan: "Plan", part: Part, options: Any, classes: int | None) -> None:
    """A backend that asks a model: is there one to ask."""
    params = plan.describe
    questions = len(read_prompts(params.prompts).questions) * options.answers
    total = f"{classes * questions} in all" if classes else "times the classes"
    part.lines.append(
        f"backend {params.backend}: {options.model}, {questions} answers per class, {total}"
    )
    if hasattr(options, "tensor_parallel_size"):
        _vllm(part, options)
    variable = getattr(options, "api_key_env", None)
    if variable and not os.environ.get(variable, "").strip():
        part.problems.append(
            f"describe.options.{params.backend}: environment variable {variable} is not set, "
            "which api_key_env names; export it"
        )
    if hasattr(options, "base_url"):
        part.lines.append(f"the server at {options.base_url.rpartition('@')[2]} is not asked now")


def _vllm(part: Part, options: Any) -> None:
    where, seen = "describe.options.vllm", torch.cuda.device_count()
    if find_spec("vllm") is None:
        part.problems.append(
            f"{where}: vLLM is not installed: pip install -e .[vllm], or take descriptions that "
            "somebody made (`dvc pull describe`), or describe.backend: openai"
        )
    if seen < options.tensor_parallel_size:
        part.problems.append(
            f"{where}: needs {options.tensor_parallel_size} GPU(s), torch sees {seen}; take "
            "descriptions that somebody made, or describe.backend: openai"
        )
    if options.model.startswith((".", "/", "~")):
        there = Path(options.model).is_dir()
        if not there:
            part.problems.append(f"{where}: model: {options.model}: there is no such folder")
        return
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(options.model, "config.json", revision=options.revision)
    cached = "in the cache" if isinstance(found, str) else "will be downloaded"
    part.lines.append(f"{options.model} at {options.revision}: {cached}")
