"""README.md and the pages of docs/ taken apart: code blocks, commands, tables, headings."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from tests.support.project import DEMO, ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WITH_GUIDES = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "benchmarks/README.md"]
PARAMS: dict[str, Any] = YAML(typ="safe", pure=True).load(DEMO.read_text())
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHELL = {"", "bash", "sh"}


class Command(NamedTuple):
    """One command of a page, as words: page "docs/weights.md", words ["saft", "export", "d"]."""

    page: str
    words: list[str]


def blocks(page: Path, languages: set[str]) -> list[str]:
    """The code blocks of a page in one of the languages."""
    pairs = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [text for language, text in pairs if language in languages]


def inline(page: Path) -> list[str]:
    """The code spans of a page, those in code blocks aside."""
    return re.findall(r"`([^`\n]+)`", BLOCK.sub("", page.read_text(encoding="utf-8")))


def words(line: str) -> list[str]:
    """A shell line as words: `A=1 dvc repro  # all` -> ["dvc", "repro"]."""
    try:
        split = shlex.split(line, comments=True)
    except ValueError:  # a code span that is not a command: an apostrophe, say
        return []
    while split and re.fullmatch(r"\w+=\S*", split[0]):
        split.pop(0)
    return split


def commands(pages: list[Path]) -> Iterator[Command]:
    """Every command of the pages' shell blocks and code spans; `a && b` and `a | b` are two."""
    for page in pages:
        lines = [
            line for text in blocks(page, SHELL) for line in text.replace("\\\n", " ").split("\n")
        ]
        for line in [*lines, *inline(page)]:
            for part in re.split(r"\s+(?:&&|\|\|?)\s+", line):
                if split := words(part):
                    yield Command(str(page.relative_to(ROOT)), split)


def named(*first: str, pages: list[Path] = WITH_GUIDES) -> list[Command]:
    """The commands that begin with these words."""
    return [c for c in commands(pages) if tuple(c.words[: len(first)]) == first]


def has_key(key: str) -> bool:
    """Whether "filter.top_k" is a key of the demo's parameters."""
    value: Any = PARAMS
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            return False
        value = value[part]
    return True


def first_column(page: str, heading: str) -> list[str]:
    """Names in code in the first column of the page's table under this heading."""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    rows = lines[start + 2 :]
    end = next((n for n, line in enumerate(rows) if not line.startswith("|")), len(rows))
    return [name for row in rows[:end] for name in re.findall(r"`([^`]+)`", row.split("|")[1])]


def anchors(page: Path) -> set[str]:
    """The fragments that a page's headings have on GitHub: "## Own images" -> "own-images"."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in headings}


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """`old` with the values of `new`, mappings merged key by key; a model is replaced as a whole,
    for its options are those of its source."""
    both = {
        key: merged(old[key], value)
        for key, value in new.items()
        if isinstance(value, dict) and key in old and "source" not in value
    }
    return {**old, **new, **both}
