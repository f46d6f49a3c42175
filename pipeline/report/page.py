"""The report: the results of the earlier stages, as one table of numbers and one HTML page.

Everything maps `Inputs` to values, without clock, host or random draw, so that the same
inputs give the same bytes.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2

from pipeline.common.params import PARAMS_FILE
from pipeline.report.about import models_view
from pipeline.report.beyond import beyond_metrics, beyond_view
from pipeline.report.cost import cost_view
from pipeline.report.examples import examples_view, shown_models
from pipeline.report.figure_views import (
    accuracy_figures,
    attack_figures,
    epsilon_figures,
    training_view,
)
from pipeline.report.filter_section import decimal, filter_view, number, signed
from pipeline.report.inputs import Inputs
from pipeline.report.lead import lead_view
from pipeline.report.sizes import size_view
from pipeline.report.training import Training
from pipeline.report.views import (
    epsilon_view,
    further_view,
    matrix_view,
    mean_view,
    models_of,
    set_view,
    threat_view,
)
from pipeline.results.accuracy import accuracies, means, measures
from pipeline.results.evaluated import model_title
from pipeline.soundness.checks import run_checks
from pipeline.soundness.measurements import Check

HEADLINE = Path("reports/headline.json")
ACCURACY = Path("reports/plots/accuracy.csv")
PAGE = Path("reports/report.html")
TEMPLATES = Path(__file__).parent


def metrics(inputs: Inputs) -> dict[str, Any]:
    """Accuracies per data set and model under the first text set and epsilon, and their unweighted
    means (keys: see `pipeline.results.accuracy`; a last iterate only where it was measured on
    every image); how many checks passed and failed; under "beyond" `beyond_metrics`."""
    checks = [check.passed for check in checks_of(inputs)]
    of_sets = {evaluated.about.dataset: accuracies(evaluated) for evaluated in inputs.sets}
    return {
        "datasets": {
            dataset: {model: _rounded(values) for model, values in of_models.items()}
            for dataset, of_models in of_sets.items()
        },
        "mean": {
            model: _rounded(values) for model, values in means(list(of_sets.values())).items()
        },
        "checks": {"passed": checks.count(True), "failed": checks.count(False)},
        "beyond": beyond_metrics(inputs.sets),
        **_precision(inputs),
    }


def headline(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Of `metrics` the few that `dvc exp show` has a column for: by measure and model the means
    over the data sets, and how many checks failed."""
    shown = {
        key: {model: values[key] for model, values in metrics["mean"].items()}
        for key in ("clean", "robust")
    }
    return {**shown, "failed_checks": metrics["checks"]["failed"]}


def _precision(inputs: Inputs) -> dict[str, Any]:
    """What another precision than float32 changed on the checked images, per set and model."""
    counts: dict[str, dict[str, Any]] = {}
    for measured in inputs.checks:
        if measured.precision is not None:
            counts.setdefault(measured.dataset, {})[measured.model] = (
                measured.precision.model_dump()
            )
    return {"precision": counts} if counts else {}


def accuracy_rows(inputs: Inputs) -> Iterator[list[Any]]:
    """Header and rows of reports/plots/accuracy.csv, which `dvc plots` draws."""
    yield ["series", "dataset", "model", "measure", "accuracy"]
    for evaluated in inputs.sets:
        dataset, labels = evaluated.about.dataset, measures(evaluated)
        for model, values in accuracies(evaluated).items():
            for key, share in values.items():
                series = f"{dataset} {model} {labels[key]}"
                yield [series, dataset, model, labels[key], round(share, 4)]


def open_checks(inputs: Inputs) -> list[Check]:
    """The checks that did not pass, those that could not be judged among them."""
    return [check for check in checks_of(inputs) if not check.passed]


def checks_of(inputs: Inputs) -> list[Check]:
    """All checks, under every text set and epsilon."""
    defended = {model: about.defended for model, about in inputs.about.items()}
    return run_checks([*inputs.sets, *inputs.further], inputs.checks, defended)


def render(inputs: Inputs) -> str:
    """The page, self-contained; every text from the inputs is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "points": points, "p_value": p_value}
    environment.filters |= {"decimal": decimal, "signed": signed, "number": number}
    environment.filters |= {"logits": logits}
    return environment.get_template("report.html.j2").render(**_variables(inputs))


def _variables(inputs: Inputs) -> dict[str, Any]:
    """What the template reads."""
    reference, seen = inputs.params.reference, inputs.training.seen if inputs.training else {}
    sets = [set_view(e, reference, seen.get(e.about.dataset)) for e in inputs.sets]
    mean = mean_view(inputs.sets)
    shown = shown_models(mean["models"], reference)
    return {
        "title": inputs.params.title,
        "models": models_of(inputs.evaluate.models, reference),
        "about": models_view(inputs.about),
        "sets": sets,
        "mean": mean,
        "matrices": matrix_view(inputs.sets),
        "further": further_view(inputs, seen),
        "over_epsilon": epsilon_view(inputs),
        "lead": lead_view(sets, mean["models"], reference, seen),
        "threat": threat_view(inputs.sets[0]),
        "sizes": size_view(inputs),
        "checks": checks_of(inputs),
        "figures": accuracy_figures(sets, mean["models"]),
        "attack_curves": attack_figures(inputs.sets),
        "epsilon_curves": epsilon_figures(inputs.checks),
        "beyond": beyond_view(inputs, mean["models"], shown),
        "shown": [model_title(model) for model in shown],
        "examples": [examples_view(e, shown, inputs.params.examples) for e in inputs.sets],
        "cost": cost_view(inputs),
        "training": _training(inputs.training) if inputs.training else None,
        "settings": [(key, flatten(value)) for key, value in inputs.settings.items()],
        "params_file": PARAMS_FILE.name,
    }


def _training(training: Training) -> dict[str, Any]:
    """How the fine-tuned model was made."""
    return {
        "method": training.recipe.title,
        "dataset": training.dataset,
        "recipe": training.recipe,
        "figures": training_view(training.log),
        "filter": filter_view(
            training.sentences, training.filter, training.provenance, training.labels
        ),
        "provenance": flatten(training.provenance),
    }


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


def logits(margin: float) -> str:
    """-0.036 -> "−0.04": a margin."""
    return number(f"{margin:+.2f}")


def p_value(value: float) -> str:
    """0.0004 -> "p < 0.001", 0.0312 -> "p = 0.031", with spaces that do not break."""
    return "p\u00a0<\u00a00.001" if value < 0.001 else f"p\u00a0=\u00a0{value:.3f}"


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {key: round(value, 4) for key, value in values.items()}
