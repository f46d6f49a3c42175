"""All parts of `saft check`, in order; a part that fails does not stop the others."""

from collections.abc import Callable, Iterator
from typing import Any

from pipeline.common.errors import UserError
from saft.check import data, descriptions, disk, letter_case, memory, models, stages, units
from saft.check.part import Part, error_line
from saft.check.plan import Plan
from saft.libyaml import unreadable_by_dvc
from saft.schema import check_params

UNEXPECTED = "could not be checked"


def params(plan: Plan) -> Part:
    """Part 1: every section, option and name of params.yaml."""
    case_warnings, case_problems = letter_case.lines_and_problems(plan)
    problems = [*check_params(plan.values, plan.file), *case_problems]
    problems += unreadable_by_dvc(plan.file.read_bytes(), plan.file)
    lines = [f"{plan.file}: {len(problems) or 'no'} problems", *units.warnings(plan)]
    lines += case_warnings
    return Part("params", lines, problems)


PARTS: dict[str, Callable[[Plan], Part]] = {
    "params": params,
    "image data": data.images,
    "class tables": data.classes,
    "descriptions": descriptions.descriptions,
    "models": models.models,
    "disk": disk.disk,
    "memory": memory.memory,
    "stages": stages.stages,
}


def run(plan: Plan) -> Iterator[Part]:
    """Each part as soon as it is there; no problem is named twice."""
    known: list[str] = []
    for title, check in PARTS.items():
        part = _attempt(title, check, plan, bool(known))
        part.problems = [text for text in part.problems if text not in known]
        known += part.problems
        yield part


def _attempt(title: str, check: Callable[[Plan], Part], plan: Plan, has_problems: bool) -> Part:
    """The part, or why there is none.

    Args:
        has_problems: whether there are problems already, from which this one follows.
    """
    try:
        return check(plan)
    except UserError as error:
        problem = str(error)
    except Exception as error:  # of a disk, or of the check itself: the other parts still count
        problem, has_problems = f"{title}: {UNEXPECTED}: {error_line(error)}", False
    return Part(title, [f"not checked: {problem}"], [] if has_problems else [problem])


def as_values(parts: list[Part]) -> dict[str, Any]:
    """For JSON: whether all is well, the problems in order, and every part's findings."""
    problems = [text for part in parts for text in part.problems]
    findings = {part.title: {"lines": part.lines, "values": part.values} for part in parts}
    return {"ok": not problems, "problems": problems, "parts": findings}
