"""Markdown tables for docs/performance.md from an acceptance.json:
`python -m benchmarks.results_table benchmarks/results/<gpu>-<date>.json`."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.acceptance import variants
from benchmarks.acceptance.goals import Sections, goals, verdict
from pipeline.common.errors import UserError

VariantResults = Mapping[str, Mapping[str, Any]]
TRAINING = {
    "step_seconds": "s per step",
    "ascent_seconds": "s per ascent",
    "images_per_second": "images/s",
    "loop_images_per_second": "images/s, whole loop",
    "share": "share of its product speed",
    "peak_gib": "peak GiB",
    "held_gib": "GiB held by torch",
}
RELEASED = {
    "step_seconds": "s per step",
    "ascent_seconds": "s per ascent",
    "images_per_second": "images/s",
    "peak_gib": "peak GiB",
}
EVALUATION = {
    "step_seconds_per_image": "s per step and image",
    "pgd_100_images_per_second": "PGD-100 images/s, nothing dropped",
    "falling_images_per_second": "PGD-100 images/s, all fall",
    "peak_gib": "peak GiB",
    "held_gib": "GiB held by torch",
}


def tables(content: Mapping[str, Any]) -> str:
    """All that the page needs: device, failed checks and sections left out, goals, numbers.

    Raises:
        UserError: `content` is not what `benchmarks.device_acceptance` writes.
    """
    if not {"sections", "failed_checks"} <= content.keys():
        raise UserError("no sections and failed_checks; name an acceptance.json")
    sections: Sections = content["sections"]
    parts = [
        _environment(sections),
        _checks(content),
        _goals(sections),
        _variants("training", _trained(sections), TRAINING),
        _variants("evaluation", _evaluated(sections), EVALUATION),
        _variants("against the release", _variant_results(sections, "against_released"), RELEASED),
        _ratios(sections),
        _ceilings(sections),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _environment(sections: Sections) -> str:
    environment = sections.get("environment", {}).get("result", {})
    keys = ("name", "torch", "cuda", "cudnn", "python", "open_clip")
    told = ", ".join(f"{key} {environment[key]}" for key in keys if key in environment)
    dry = "; dry run in tiny sizes, comparable with nothing" if environment.get("tiny") else ""
    return f"Measured on: {told}{dry}."


def _checks(content: Mapping[str, Any]) -> str:
    failed = content["failed_checks"]
    lines = [f"Failed checks: {len(failed) or 'none'}."] + [f"- {text}" for text in failed]
    skipped = [name for name, section in content["sections"].items() if "skipped" in section]
    if skipped:
        lines.append(f"Skipped, out of budget: {', '.join(skipped)}.")
    # a section that ends, an error included, has its seconds
    cut = [
        name
        for name, section in content["sections"].items()
        if not {"skipped", "seconds"} & section.keys()
    ]
    if cut:
        lines.append(f"Cut off in: {', '.join(cut)}.")
    return "\n".join(lines)


def _goals(sections: Sections) -> str:
    rows = [
        (goal.name, goal.target, _number(goal.measured), verdict(goal), goal.basis)
        for goal in goals(sections)
    ]
    return _table(("goal", "target", "measured", "met", "basis"), rows)


def _variant_results(sections: Sections, name: str) -> VariantResults:
    return sections.get(name, {}).get("result", {}).get("variants", {})


def _trained(sections: Sections) -> VariantResults:
    """With the rate of the whole loop, and FLOP per second over those of a large product in the
    variant's own precision."""
    flop = sections.get("training", {}).get("result", {}).get("flop_per_step")
    ceilings = sections.get("ceilings", {}).get("result", {})
    speeds = ceilings.get("product_tflop_per_second", {})
    told = {}
    for name, measured in _variant_results(sections, "training").items():
        seconds, speed = measured.get("step_seconds"), speeds.get(variants.precision(name))
        told[name] = measured | {
            "loop_images_per_second": measured.get("loop", {}).get("images_per_second"),
            "share": flop / seconds / 1e12 / speed if flop and seconds and speed else None,
        }
    return told


def _evaluated(sections: Sections) -> VariantResults:
    """With the rate where all images fall at once."""
    return {
        name: measured
        | {"falling_images_per_second": measured.get("falling", {}).get("images_per_second")}
        for name, measured in _variant_results(sections, "evaluation").items()
    }


def _variants(title: str, results: VariantResults, columns: Mapping[str, str]) -> str:
    rows = [
        (name, *(_number(measured.get(key)) for key in columns))
        for name, measured in results.items()
    ]
    return _table((title, *columns.values()), rows) if rows else ""


def _ratios(sections: Sections) -> str:
    compared = sections.get("against_released", {}).get("result", {}).get("training_variants", {})
    rows = [(name, *map(_number, ratios.values())) for name, ratios in compared.items()]
    head = ("training, images/s over those of", *next(iter(compared.values()), {}))
    return _table(head, rows) if rows else ""


def _ceilings(sections: Sections) -> str:
    ceilings = sections.get("ceilings", {}).get("result", {})
    speeds = ceilings.get("product_tflop_per_second", {})
    rows = [(name, _number(speed)) for name, speed in speeds.items()]
    return _table(("one large matrix product", "TFLOP/s"), rows) if rows else ""


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def read(file: Path) -> str:
    """The tables of an acceptance.json.

    Raises:
        UserError: the file is missing or something else.
    """
    try:
        return tables(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(f"{file}: not found") from None
    except ValueError as error:
        raise UserError(f"{file}: no JSON: {error}") from None


def main(file: Annotated[Path, typer.Argument(help="acceptance.json")]) -> None:
    """Print the tables and nothing else: the output is to be kept."""
    try:
        print(read(file), end="")
    except UserError as error:
        print(f"[results_table] error: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    typer.run(main)
