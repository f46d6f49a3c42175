"""Names of params.yaml that differ in case only: on macOS and Windows their files are one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.clip.folders import FINETUNED
from pipeline.common.errors import listed
from pipeline.common.letter_forms import alike
from pipeline.zeroshot.text_tables import DESCRIPTIONS
from saft.check.plan import Plan

# sections whose names become files or folders, and the names that are there without a section
NAMED: dict[tuple[str, ...], tuple[str, ...]] = {
    ("prepare.sets",): (),
    ("pretrain",): (),
    ("models",): (FINETUNED,),
    ("embed.texts",): (DESCRIPTIONS,),
    ("exemplars",): (),
    ("confusions.text", "confusions.images"): (),
}


def lines_and_problems(plan: Plan) -> tuple[list[str], list[str]]:
    """A line for each section with such names: a warning where they are files of their own, a
    problem where the working folder is on a file system that takes them for one."""
    differing = [
        f"{plan.file}: {' and '.join(keys)}: {listed(names, 4)} differ in case only, and so do "
        "their files; "
        for keys, names in _alike(plan)
    ]
    if is_case_blind(plan.file):
        return [], [
            f"{line}this file system takes them for one: rename all but one" for line in differing
        ]
    return [
        f"warning: {line}those of macOS and Windows take them for one" for line in differing
    ], []


def is_case_blind(file: Path) -> bool:
    """Whether the file system takes a file's name in upper and in lower case for the same."""
    upper = file.with_name(file.name.upper())
    try:
        return upper.name != file.name and upper.samefile(file)
    except OSError:
        return False


def _alike(plan: Plan) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    for keys, fixed in NAMED.items():
        names = [str(name) for key in keys for name in _section(plan.values, key)]
        if same := alike([*names, *fixed]):
            yield keys, same


def _section(values: Any, key: str) -> dict[str, Any]:
    for part in key.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values if isinstance(values, dict) else {}
