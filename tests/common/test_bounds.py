"""Every number of every params class has a lower and an upper bound."""

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

import pipeline
import saft
import stages
from pipeline.common.bounds import Epsilon, Rate
from pipeline.common.errors import UserError
from pipeline.common.params import Section, validate

# classes that only show or compare, or read again, what the class behind them has checked
READERS = {
    "pipeline.report.inputs.EvaluateSettings": "EvaluateParams, in the stages evaluate and check",
    "pipeline.report.training.FilterSettings": "FilterParams, in the stage filter",
    "pipeline.report.training._Cleaning": "CleaningParams, in the stage filter",
    "pipeline.report.training.TrainedOn": "FinetuneParams, in the stage finetune, which wrote it",
    "pipeline.report.training._Attack": "AttackParams, in the stage finetune, which wrote it",
    "pipeline.results.metrics.Metrics": "EvaluateParams, in the stage evaluate, which wrote it",
    "pipeline.results.metrics.Accuracy": "counts of the stage evaluate, which wrote them",
    "pipeline.clip.about.TrainedUnder": "AttackParams, in the stage finetune, which wrote it",
    "pipeline.clip.about.TrainedBy": "FinetuneParams, in the stage finetune, which wrote it",
    "pipeline.images.set_summary.PerClass": "counts of the stage prepare, which wrote them",
    "pipeline.images.set_summary.Summary": "counts of the stage prepare, which wrote them",
    "pipeline.results.agreement.Agreed": "EvaluateParams, in the stages evaluate and check",
    "pipeline.soundness.measurements.CheckSettings": "ChecksParams, in the stage check",
    "pipeline.report.inputs._Checks": "ChecksParams, in the stage check",
    "saft.evaluation.command._Counts": "counts of the stage report, which wrote them",
    "saft.evaluation.command._Judged": "counts of the stage report, which wrote them",
    "saft.export.inputs.TrainedUnder": "AttackParams, in the stage finetune, which wrote it",
    "saft.export.inputs.Trained": "FinetuneParams, in the stage finetune, which wrote it",
    "saft.export.inputs._Lora": "LoraParams, in the stage finetune, which wrote it",
    "saft.export.inputs._ValidatedOn": "ValidationParams, in the stage finetune, which wrote it",
    "pipeline.report.training.Validated": "ValidationParams, in the stage finetune, which wrote it",
    "saft.export.inputs.EvaluatedNames": "EvaluateParams, in the stage evaluate",
    "saft.export.inputs.Results": "numbers of the stage report, which wrote them",
    "saft.export.inputs._Checks": "counts of the stage report, which wrote them",
}
# bounded by pipeline.common.bounds.Epsilon, which a JSON schema of a union cannot say
OF_A_UNION = {"pipeline.evaluation.params.EvaluateParams.epsilons_255[]"}


def all_sections() -> dict[str, type[Section]]:
    """Every class derived from Section, by its name with its module."""
    for package in (pipeline, stages, saft):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    waiting, known = [Section], {}
    while waiting:
        for kind in waiting.pop().__subclasses__():
            known[f"{kind.__module__}.{kind.__name__}"] = kind
            waiting.append(kind)
    return {name: kind for name, kind in known.items() if name.split(".")[0] != "tests"}


def numbers(schema: dict[str, Any], key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """(key, schema) of every number within a JSON schema."""
    if schema.get("type") in ("integer", "number"):
        yield key, schema
    for word in ("anyOf", "prefixItems"):
        for inner in schema.get(word, []):
            yield from numbers(inner | _bounds(schema), key)
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), dict):
            yield from numbers(schema[word], f"{key}[]")
    for name, inner in schema.get("properties", {}).items():
        yield from numbers(inner, f"{key}.{name}")
    for inner in schema.get("$defs", {}).values():
        yield from numbers(inner, key)


def _bounds(schema: dict[str, Any]) -> dict[str, Any]:
    """Of a union, for its members: `int | float` states its bounds once."""
    return {word: schema[word] for word in ("minimum", "maximum", "exclusiveMinimum",
                                            "exclusiveMaximum") if word in schema}  # fmt: skip


def unbounded(kind: type[Section]) -> list[str]:
    """Keys of the numbers of a params class that lack a bound."""
    return [
        key
        for key, schema in numbers(kind.model_json_schema())
        if not (schema.keys() & {"minimum", "exclusiveMinimum"})
        or not (schema.keys() & {"maximum", "exclusiveMaximum"})
    ]


def test_no_number_is_without_bounds():
    sections = all_sections()
    counted = sum(len(list(numbers(kind.model_json_schema()))) for kind in sections.values())
    print(f"{counted} numbers in {len(sections)} params classes")
    assert len(sections) > 50
    assert counted > 150
    bare = {name: unbounded(kind) for name, kind in sections.items()}
    keys = {name + key for name in bare.keys() - READERS.keys() for key in bare[name]}
    assert keys == OF_A_UNION


@pytest.mark.parametrize("radius", [0, -1, 255 * 255 + 1, 10**30, 1e30, 1e-40, 10**400])
def test_a_radius_has_bounds(radius):
    schema = TypeAdapter(Epsilon)
    assert [repr(schema.validate_python(good)) for good in (4, 4.0)] == ["4", "4.0"]
    with pytest.raises(ValidationError):
        schema.validate_python(radius)


def test_who_reads_again_is_known():
    sections = all_sections()
    assert {name for name in READERS if unbounded(sections[name])} == set(READERS)


def test_one_that_is_would_be_found():
    class Loose(Section):
        number: int
        numbers: list[float] | None
        pair: tuple[int, float]
        of: dict[str, int]

    assert unbounded(Loose) == [".number", ".numbers[]", ".pair", ".pair", ".of[]"]


@pytest.mark.parametrize("number", [1e-39, 5e-324, 1e39, float("nan"), float("inf"), 10**400, True])
def test_what_no_32_bit_float_holds_is_no_rate(number):
    class Trained(Section):
        rate: Rate

    with pytest.raises(UserError, match="^file: key 'rate': ") as caught:
        validate({"rate": number}, Trained, "file")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200
    assert validate({"rate": 1}, Trained, "file").rate == 1
