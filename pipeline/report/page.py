"""The report: the results of the earlier stages, as one table of numbers and one HTML page.

Everything maps `Inputs` to values, without clock, host or random draw, so that the same
inputs give the same bytes.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2

from pipeline.common.params import PARAMS_FILE
from pipeline.report.cost import cost_view
from pipeline.report.filter_section import decimal, filter_view, number, signed
from pipeline.report.inputs import Inputs
from pipeline.report.views import figure_view, set_view, summary_view, threat_view
from pipeline.results.accuracy import accuracies, means, measures
from pipeline.results.evaluated import MODELS
from pipeline.soundness.checks import Check, run_checks

ACCURACY = Path("reports/plots/accuracy.csv")
PAGE = Path("reports/report.html")
TEMPLATE = Path(__file__).with_name("report.html.j2")


def metrics(inputs: Inputs) -> dict[str, Any]:
    """Accuracies per data set and model under the first text set, and their unweighted means
    (keys: see `pipeline.results.accuracy`; a last iterate only where it was measured on every
    image); how many checks passed and failed."""
    checks = [check.passed for check in checks_of(inputs)]
    return {
        "datasets": {
            evaluated.metrics.dataset: {
                model: _rounded(accuracies(evaluated, model)) for model in MODELS
            }
            for evaluated in inputs.sets
        },
        "mean": {model: _rounded(values) for model, values in means(inputs.sets).items()},
        "checks": {"passed": checks.count(True), "failed": checks.count(False)},
        **_precision(inputs),
    }


def _precision(inputs: Inputs) -> dict[str, Any]:
    """What another precision than float32 changed on the checked images, per set and model."""
    counts = {
        measured.dataset: {
            model: precision.model_dump()
            for model in MODELS
            if (precision := getattr(measured, model).precision) is not None
        }
        for measured in inputs.checks
    }
    return {"precision": counts} if any(counts.values()) else {}


def accuracy_rows(inputs: Inputs) -> Iterator[list[Any]]:
    """Header and rows of reports/plots/accuracy.csv, which `dvc plots` draws."""
    yield ["series", "dataset", "model", "measure", "accuracy"]
    for evaluated in inputs.sets:
        dataset, labels = evaluated.metrics.dataset, measures(evaluated)
        for model in MODELS:
            for key, share in accuracies(evaluated, model).items():
                series = f"{dataset} {model} {labels[key]}"
                yield [series, dataset, model, labels[key], round(share, 4)]


def open_checks(inputs: Inputs) -> list[Check]:
    """The checks that did not pass, those that could not be judged among them."""
    return [check for check in checks_of(inputs) if not check.passed]


def checks_of(inputs: Inputs) -> list[Check]:
    """All checks, under every text set."""
    return run_checks([*inputs.sets, *inputs.other_texts], inputs.checks)


def render(inputs: Inputs) -> str:
    """The page, self-contained; every text from the inputs is escaped."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": percent, "points": points, "p_value": p_value}
    environment.filters |= {"decimal": decimal, "signed": signed, "number": number}
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    sets = [set_view(evaluated, inputs.params.examples) for evaluated in inputs.sets]
    return template.render(
        title=inputs.params.title,
        tuned_on=inputs.tuned_on,
        method=inputs.recipe.title,
        sets=sets,
        others=[set_view(evaluated, 0) for evaluated in inputs.other_texts],
        mean=means(inputs.sets),
        summary=summary_view(sets),
        threat=threat_view(inputs.sets[0]),
        checks=checks_of(inputs),
        figures=figure_view(sets, inputs),
        cost=cost_view(inputs),
        filter=filter_view(inputs.sentences, inputs.filter, inputs.provenance),
        settings=[(key, flatten(value)) for key, value in inputs.settings.items()],
        params_file=PARAMS_FILE.name,
        provenance=flatten(inputs.provenance),
    )


def flatten(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested dictionaries as (dotted key, text); lists and scalars as JSON, strings as such."""
    if isinstance(value, dict) and value:
        return [
            pair
            for key, inner in value.items()
            for pair in flatten(inner, f"{prefix}.{key}" if prefix else str(key))
        ]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return [(prefix, text)]


def percent(share: float) -> str:
    """0.613 -> "61.3 %", with a space that does not break."""
    return f"{100 * share:.1f}\u00a0%"


def points(difference: float) -> str:
    """-0.038 -> "−3.8", percentage points; never "−0.0"."""
    text = f"{100 * difference:+.1f}".replace("-", "\u2212")
    return "0.0" if text[1:] == "0.0" else text


def p_value(value: float) -> str:
    """0.0004 -> "p < 0.001", 0.0312 -> "p = 0.031"."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {key: round(value, 4) for key, value in values.items()}
