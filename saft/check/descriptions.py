"""How many classes will have descriptions, or whether the model that writes them can run."""

import contextlib
import io
from collections import Counter
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, TypeVar

from pipeline.clip.folders import FINETUNED
from pipeline.common.errors import UserError
from pipeline.common.options import load_plugin
from pipeline.descriptions import session
from pipeline.descriptions.artifact import classes_without_sentence
from pipeline.descriptions.interface import Answers, Task
from pipeline.descriptions.params import DescribeParams, classes_to_describe
from pipeline.descriptions.prompts import FOLDER, PromptSet, read_prompts
from pipeline.filtering.filter import FilterParams
from pipeline.images.classes import ClassEntry
from pipeline.zeroshot.text_tables import DESCRIPTIONS
from saft.check import class_names
from saft.check.backends import CHECK_BACKEND
from saft.check.part import Part
from saft.check.plan import Plan

T = TypeVar("T")


def descriptions(plan: Plan) -> Part:
    """Part 4: the backend, and the classes that it would leave without enough sentences."""
    part = Part("descriptions")
    if not plan.describes:
        part.lines.append(
            f"not needed: neither '{FINETUNED}' nor text set '{DESCRIPTIONS}' is evaluated"
        )
        return part
    params = plan.describe
    if not plan.runs.includes("describe"):
        part.lines.append(f"backend {params.backend}: data/descriptions is up to date")
        return part
    backend, options = load_plugin(
        "pipeline.backends", "describe", "backend", params.backend, params.options
    )
    prompts = _check_questions(part, params, backend)
    state = plan.sets.get(params.dataset)
    class_entries = list(state.class_entries) if state else []
    if backend.ASKS_MODEL:
        count = len(class_entries) or (state.classes if state else None)
        _check_request(part, params, options, count, prompts)
        if class_entries:
            _check_names(part, class_entries, params)
    elif not class_entries:
        part.lines.append(
            f"backend {params.backend}: coverage not checked: the images of '{params.dataset}' "
            f"({state.state if state else 'no such set'}) tell the classes; once they are there "
            "`saft check` says which are described"
        )
    elif prompts is None:
        part.lines.append(f"backend {params.backend}: coverage not checked before the prompt set")
    else:
        answers = _try_reading(part, params, backend, options, class_entries, prompts)
        if answers is not None and plan.filter.short_class == "error":
            part.problems += _short_classes(answers, class_entries, plan.filter)
    return part


def _check_questions(part: Part, params: DescribeParams, backend: ModuleType) -> PromptSet | None:
    """Add all that `describe` would refuse at once; the prompt set if it can be used."""
    _try(part, session.check_exemplars, params, backend)
    _try(part, session.check_confusions, params, backend)
    if not (FOLDER / f"{params.prompts}.yaml").is_file():  # the part on params.yaml says so
        return None
    prompts = _try(part, read_prompts, params.prompts)
    if prompts is not None:
        _try(part, session.check_questions, params, backend, prompts)
    return prompts


def _try(part: Part, function: Callable[..., T], *arguments: Any) -> T | None:
    """What a function returns; None where it ends with an error, which becomes a problem."""
    try:
        return function(*arguments)
    except UserError as error:
        part.problems.append(str(error))
        return None


def _try_reading(
    part: Part, params: DescribeParams, backend: ModuleType, options: Any,
    class_entries: list[ClassEntry], prompts: PromptSet,
) -> Answers | None:  # fmt: skip
    """What a backend gives that reads a file; None where it ends with an error."""
    try:
        classes = classes_to_describe(class_entries, params.only, f"set '{params.dataset}'")
        task = Task(classes, params.prompts, prompts, {}, params.seed, None, class_entries)
        with contextlib.redirect_stderr(io.StringIO()):  # the stage prints lines to complete
            answers = backend.describe(task, options)
    except UserError as error:
        printed = ": `dvc repro stages/dvc.yaml:describe` prints them"
        shown = str(error).replace(" (the lines to complete are printed above)", printed)
        part.problems.append(shown)
        return None
    _count_described(part, params, answers, classes)
    return answers


def _count_described(
    part: Part, params: DescribeParams, answers: Answers, classes: Sequence[ClassEntry]
) -> None:
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


def _tiers(answers: Answers) -> str:
    matched = {k: v for k, v in answers.provenance.get("matched", {}).items() if v}
    return f", matched by {', '.join(f'{k} {v}' for k, v in matched.items())}" if matched else ""


def _short_classes(
    answers: Answers, classes: Sequence[ClassEntry], params: FilterParams
) -> list[str]:
    """Too few sentences even if the filter drops none."""
    counts = Counter(s.class_id for s in answers.sentences if s.text.strip())
    short = [e.class_id for e in classes if 0 < counts[e.class_id] < params.top_k]
    if not short:
        return []
    return [
        f"filter: {len(short)} classes have fewer than filter.top_k = {params.top_k} sentences, "
        f"e.g. {short[0]} ({counts[short[0]]}); lower it, or set filter.short_class"
    ]


def _check_request(
    part: Part, params: DescribeParams, options: Any, classes: int | None, prompts: PromptSet | None
) -> None:
    """How much a backend asks a model, where that is known, and whether it can be asked."""
    if prompts is not None:
        questions = len(prompts.questions) * options.answers
        total = f"{classes * questions} in all" if classes else "times the classes"
        images = f"per image of exemplars.{params.exemplars}, times the images"
        unit = images if params.per_image else f"per class, {total}"
        part.lines.append(f"backend {params.backend}: {options.model}, {questions} answers {unit}")
    if params.backend in CHECK_BACKEND:
        CHECK_BACKEND[params.backend](part, options)


def _check_names(part: Part, classes: Sequence[ClassEntry], params: DescribeParams) -> None:
    part.values["several_meanings"] = [entry.class_id for entry in class_names.ambiguous(classes)]
    if line := class_names.remark(classes, params.gloss):
        part.lines.append(line)
