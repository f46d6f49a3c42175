"""All of params.yaml at once: every section, every plug-in's keys, every name that must exist.

A stage reads its section only; `saft check`, `saft use` and the tests check all of it before
anything runs. Nothing is computed, and of other files only the prompt sets are looked for.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.clip.folders import FINETUNED
from pipeline.common import registry, secrets
from pipeline.common.errors import UserError, printable
from pipeline.common.params import PARAMS_FILE, SECRET, Section, validate
from pipeline.common.plain_values import shown
from pipeline.descriptions.confusions import ConfusionsParams
from pipeline.descriptions.exemplars import ExemplarParams
from pipeline.descriptions.params import DescribeParams
from pipeline.embeddings.templates import EmbedParams
from pipeline.evaluation.params import EvaluateParams
from pipeline.filtering.filter import FilterParams
from pipeline.images.data_root import DataParams
from pipeline.models.params import ModelParams
from pipeline.models.pretraining import PretrainParams
from pipeline.prepare.pack import PrepareParams
from pipeline.report.inputs import ReportParams
from pipeline.soundness.measure import ChecksParams
from pipeline.training.recipe import FinetuneParams, resolve
from saft.plugin_params import model_options, open_params, plugin_options
from saft.references import not_plain, references

SECTIONS: dict[str, type[Section]] = {
    "data": DataParams,
    "prepare": PrepareParams,
    "confusions": ConfusionsParams,
    "describe": DescribeParams,
    "filter": FilterParams,
    "embed": EmbedParams,
    "finetune": FinetuneParams,
    "evaluate": EvaluateParams,
    "report": ReportParams,
}
# sections whose keys the user names, each with what stands below
NAMED: dict[str, type[Section]] = {
    "pretrain": PretrainParams,
    "models": ModelParams,
    "exemplars": ExemplarParams,
}
# section -> the package of its plug-ins and the key that chooses among them
CHOICES = {
    "describe": ("pipeline.backends", "backend"),
    "finetune": ("pipeline.methods", "method"),
    "evaluate": ("pipeline.attacks", "attacks"),
}
Values = dict[str, Any]


def check_params(values: Values, file: Path = PARAMS_FILE) -> list[str]:
    """Everything that is wrong with a params file, each problem one line that names file and key.

    Args:
        values: what the file holds, see `pipeline.common.params.read_params`.
        file: for messages.
    """
    known = {*NAMED, *SECTIONS}
    problems = [_missing(name, values, file) for name in sorted(known - set(values))]
    problems += [f"{file}: unknown section '{name}'" for name in _sorted(set(values) - known)]
    problems += [f"{file}: {key} {SECRET}" for key in secrets.in_values(values)]
    sound, invalid = sections(values, file)
    problems += invalid
    _sets(values, sound, file, problems)
    for section in NAMED:
        if isinstance(values.get(section), dict):
            problems += not_plain(map(str, values[section]), f"{file}: {section}")
    if "models" in sound:
        _all_model_options(values["models"], file, problems)
    for section in CHOICES:
        if section in sound:
            _options(values[section], section, file, problems)
    if not problems:
        _recipe(values, file, problems)
    if "confusions" in sound:
        for key, entries in values["confusions"].items():
            problems += not_plain(entries, f"{file}: confusions.{key}")
    if "embed" in sound:
        problems += not_plain(values["embed"]["texts"], f"{file}: embed.texts")
    problems += [f"{file}: {text}" for text in references(values, sound)]
    return [printable(problem) for problem in problems]


def _missing(name: str, values: Values, file: Path) -> str:
    evaluate = values.get("evaluate")
    models = evaluate.get("models") if isinstance(evaluate, dict) else None
    needed = name == "finetune" and isinstance(models, list) and FINETUNED in models
    why = f", which makes '{FINETUNED}' of evaluate.models" if needed else ""
    return f"{file}: missing section '{name}'{why}"


def sections(values: Values, file: Path = PARAMS_FILE) -> tuple[set[str], list[str]]:
    """Names of the sections that are there with the keys and types they must have; and what is
    wrong with the others, but for absence."""
    problems: list[str] = []
    sound = {
        name
        for name, schema in SECTIONS.items()
        if name in values and _try(problems, validate, values[name], schema, f"{file}: {name}")
    }
    if "evaluate" in sound:
        where = f"{file}: evaluate.checks"
        if not _try(problems, validate, values["evaluate"]["checks"], ChecksParams, where):
            sound.discard("evaluate")
    sound |= {name for name in NAMED if name in values and _is_sound(name, values, file, problems)}
    return sound, problems


def _is_sound(name: str, values: Values, file: Path, problems: list[str]) -> bool:
    """Whether every entry of a section of NAMED has its keys."""
    entries = values[name]
    if not isinstance(entries, dict):
        problems.append(f"{file}: {name}: expected a section with keys, found {shown(entries)}")
        return False
    numbers = [key for key in entries if not isinstance(key, str)]
    problems += [f"{file}: {name}.{key}: a name in quotes, '{key}'" for key in numbers]
    return not numbers and all(
        [
            _try(problems, validate, entry, NAMED[name], f"{file}: {name}.{key}")
            for key, entry in entries.items()
        ]
    )


def _sorted(names: set[Any]) -> list[Any]:
    return sorted(names, key=str)  # YAML keys may be numbers


def _try(problems: list[str], check: Callable[..., object], *arguments: Any) -> bool:
    """Whether `check(*arguments)` raises nothing; its UserError is appended to `problems`."""
    try:
        check(*arguments)
    except UserError as error:
        problems.append(str(error))
        return False
    return True


def _sets(values: Values, sound: set[str], file: Path, problems: list[str]) -> None:
    if "prepare" not in sound:
        return
    problems += not_plain(values["prepare"]["sets"], f"{file}: prepare.sets")
    for name, spec in values["prepare"]["sets"].items():
        _try(problems, open_params, spec, f"{file}: prepare.sets.{name}")


def _all_model_options(models: Values, file: Path, problems: list[str]) -> None:
    for name, model in models.items():
        _try(problems, model_options, model["source"], model["options"], f"{file}: models.{name}")


def _options(section: Values, name: str, file: Path, problems: list[str]) -> None:
    """The chosen plug-ins exist and have options; the options of all plug-ins are sound."""
    package, key = CHOICES[name]
    chosen, where = section[key], f"{file}: {name}.options"
    for plugin in chosen if isinstance(chosen, list) else [chosen]:
        exists = _try(problems, registry.check, package, plugin, f"{file}: {name}.{key}")
        if exists and plugin not in section["options"]:
            problems.append(f"{where} has no '{plugin}', which {name}.{key} names")
    for plugin, options in section["options"].items():
        _try(problems, plugin_options, package, plugin, options, where)


def _recipe(values: Values, file: Path, problems: list[str]) -> None:
    params = validate(values["finetune"], FinetuneParams, str(file))
    method = registry.load("pipeline.methods", params.method, str(file))
    options = validate(params.options[params.method], method.Params, str(file))
    _try(problems, resolve, params, method.PUBLISHED, options)
