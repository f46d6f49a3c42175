"""What cleaning drops of published and generated descriptions, and how often a reader agrees.

`count` tells what is kept and dropped, by reason. `sample` draws decisions to be read, from the
half of the sentences that no rule was made with: those of an odd SHA-256. `score` turns the read
ones into precision and recall. The folder holds a folder per source, with JSON files
{class: [sentences]} in it.

    python -m benchmarks.cleaning count --folder descriptions
    python -m benchmarks.cleaning sample --folder descriptions --output sample.jsonl
    python -m benchmarks.cleaning score --folder descriptions --labels sample.jsonl
"""

import hashlib
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from benchmarks.cleaning_agreement import Cell, agreement
from pipeline.common.errors import UserError
from pipeline.common.tables import read_json
from pipeline.filtering.cleaning import REASONS, clean
from saft.descriptions.datasheet import DEFAULT_CLEANING
from saft.errors import one_line_errors

REPEATS = ("duplicate", "near_duplicate")  # no matter of one sentence, and not read
Folder = Annotated[Path, typer.Option(help="folder with a folder per source")]
app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


class Decision(NamedTuple):
    """What cleaning made of a sentence; reason: None where it is kept."""

    source: str
    class_key: str
    sentence: str
    text: str
    reason: str | None

    @property
    def cell(self) -> Cell:
        return self.source, self.reason is not None


def decisions(folder: Path) -> Iterator[Decision]:
    """Every sentence with what cleaning makes of it, before CLIP's context plays a part.

    Raises:
        UserError: the folder holds no such file, or one that is something else.
    """
    files = [file for file in sorted(folder.glob("*/*.json")) if "provenance" not in file.name]
    if not files:
        raise UserError(f"{folder}: holds no folder with JSON files of descriptions")
    for file in files:
        for key, texts in read_json(file).items():
            if not (isinstance(texts, list) and all(isinstance(text, str) for text in texts)):
                raise UserError(f"{file}: {key}: expected a list of sentences")
            for sentence, result in zip(texts, _clean(texts), strict=True):
                yield Decision(file.parent.name, key, sentence, result.text, result.reason)


def held_out(sentence: str) -> bool:
    """Whether no rule was made with the sentence: its SHA-256 is odd."""
    return hashlib.sha256(sentence.encode()).digest()[-1] % 2 == 1


def draw(candidates: Sequence[Decision], count: int, seed: int) -> list[Decision]:
    """`count` decisions, as many of each source as there are, in equal shares where possible."""
    by_source: dict[str, list[Decision]] = defaultdict(list)
    for decision in candidates:
        by_source[decision.source].append(decision)
    drawn: list[Decision] = []
    ordered = sorted(by_source.values(), key=len)  # what a small source lacks, a large one gives
    for number, of_source in enumerate(ordered):
        share = -(-(count - len(drawn)) // (len(ordered) - number))
        drawn += random.Random(seed).sample(of_source, min(share, len(of_source)))
    return drawn


@app.command("count")
@one_line_errors()
def count_reasons(folder: Folder) -> None:
    """Print sentences by reason and source, as a Markdown table."""
    counts = Counter((decision.source, decision.reason) for decision in decisions(folder))
    sources = sorted({source for source, _ in counts})
    print(f"| | {' | '.join(sources)} |\n|---|{'---|' * len(sources)}")
    for reason in (None, *REASONS):
        if any(counts[source, reason] for source in sources):
            cells = " | ".join(f"{counts[source, reason]:,}" for source in sources)
            print(f"| {f'`{reason}`' if reason else 'kept'} | {cells} |")


@app.command()
@one_line_errors()
def sample(
    folder: Folder,
    output: Annotated[Path, typer.Option(help="JSON lines to write, one decision each")],
    size: Annotated[int, typer.Option(help="decisions, half of them dropped sentences")] = 200,
    seed: Annotated[int, typer.Option(help="of the draw")] = 0,
    without: Annotated[Path | None, typer.Option(help="earlier sample, not drawn again")] = None,
) -> None:
    """Draw decisions to be read; put `"right": true` or `false` into each line."""
    known = {row["sentence"] for row in _read(without)} if without else set()
    unread = [d for d in _held_out(folder) if d.sentence not in known]
    lines = []
    for dropped in (True, False):
        side = [decision for decision in unread if (decision.reason is not None) == dropped]
        lines += [json.dumps(d._asdict(), ensure_ascii=False) for d in draw(side, size // 2, seed)]
    output.write_text("\n".join(lines) + "\n", encoding="utf-8")


@app.command()
@one_line_errors()
def score(
    folder: Folder,
    labels: Annotated[Path, typer.Option(help="lines of `sample` with `right` in each")],
) -> None:
    """Print, as JSON, agreement by source and side, and precision and recall of dropping."""
    sizes = Counter(decision.cell for decision in _held_out(folder))
    print(json.dumps(agreement(_read(labels), sizes), indent=2))


def _read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _held_out(folder: Path) -> list[Decision]:
    kept_apart = (d for d in decisions(folder) if held_out(d.sentence))
    return [decision for decision in kept_apart if decision.reason not in REPEATS]


def _clean(texts: Sequence[str]) -> Any:
    return clean(texts, DEFAULT_CLEANING, 10**6, lambda plain: [0] * len(plain))


if __name__ == "__main__":
    app()
