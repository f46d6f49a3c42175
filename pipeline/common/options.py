"""Names in params.yaml: of plug-ins, with their keys `<section>.options.<name>`, and of what its
other sections define."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

from pipeline.common import names, registry
from pipeline.common.errors import UserError
from pipeline.common.params import PARAMS_FILE, Section, read_value, validate

# key of params.yaml -> the package of the plug-ins that it names
PACKAGES = {
    "prepare.sets": "pipeline.datasets",
    "models": "pipeline.model_sources",
    "describe.backend": "pipeline.backends",
    "finetune.method": "pipeline.methods",
    "evaluate.attacks": "pipeline.attacks",
}
# keys whose entries the user names, and DVC makes stages, folders and words of commands of
ENTRIES = (
    "prepare.sets", "pretrain", "models", "exemplars", "confusions.text", "confusions.images",
    "embed.texts",
)  # fmt: skip


def load_plugin(
    package: str, section: str, key: str, name: str, options: dict[str, dict[str, Any]]
) -> tuple[ModuleType, Section]:
    """Import plug-in `name` of `package` and check its options.

    Args:
        section, key: the key of params.yaml that holds the name, for messages.

    Raises:
        UserError: no such plug-in, no options for it, or bad options.
    """
    where = f"{PARAMS_FILE}: {section}"
    module = registry.load(package, name, f"{where}.{key}")
    if name not in options:
        raise UserError(f"{where}.options has no '{name}', which {section}.{key} names")
    return module, validate(options[name], module.Params, f"{where}.options.{name}")


def check_plugin(key: str, name: str, below: str = "") -> None:
    """Check that the plug-in `name` exists, which stands under `key`, or `key` and `below`, of
    params.yaml: for example "models" and ".base.source".

    Raises:
        UserError: it does not; the key and those there are are named.
    """
    registry.check(PACKAGES[key], name, f"{PARAMS_FILE}: {key}{below}")


def check_plugins() -> None:
    """Check the names of params.yaml that stand for files of the code, but for attacks.

    Raises:
        UserError: see `check_plugin`.
    """
    for key in ("prepare.sets", "models"):
        for name, section in read_value(key, dict[str, dict[str, Any]]).items():
            check_plugin(key, str(section.get("source")), f".{name}.source")
    for key in ("describe.backend", "finetune.method"):
        check_plugin(key, read_value(key, str))


def check_defined(used: Sequence[str], known: Collection[str], key: str) -> None:
    """Raise UserError unless all `used`, which stand under `key` of params.yaml, are `known`."""
    for name in used:
        if name not in known:
            raise UserError(f"{PARAMS_FILE}: {key}: '{name}' is not one of {', '.join(known)}")


def check_entry_names() -> None:
    """Check the names of all entries of ENTRIES, and that epsilons, which are words of commands,
    are numbers.

    Raises:
        UserError: one is none; its key and the rule are named.
    """
    for key in ENTRIES:
        names.check(read_value(key, dict[Any, Any]), f"{PARAMS_FILE}: {key}")
    read_value("evaluate.epsilons_255", list[int | float])


def check_evaluated_names(descriptions: str, finetuned: str) -> None:
    """Check the attacks, text sets and models that section evaluate names.

    Args:
        descriptions, finetuned: the text set and the model that no section of params.yaml defines.

    Raises:
        UserError: one does not exist; its key and those there are are named.
    """
    for attack in read_value("evaluate.attacks", list[str]):
        check_plugin("evaluate.attacks", attack)
    texts = [*read_value("embed.texts", dict[str, Any]), descriptions]
    check_defined(read_value("evaluate.texts", list[str]), texts, "evaluate.texts")
    models = [*read_value("models", dict[str, Any]), finetuned]
    check_defined(read_value("evaluate.models", list[str]), models, "evaluate.models")


def used_twice(name: str, others: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """A line for each key of params.yaml that names the validation set of fine-tuning too.

    Args:
        name: finetune.validation.dataset; others: by key, the sets that are trained on or that
            the fine-tuned model is evaluated on.
    """
    for key in (key for key, sets in others.items() if name in sets):
        yield (
            f"finetune.validation.dataset: '{name}' is in {key} too; what is validated on is "
            "neither trained on nor evaluated; choose another set, or none"
        )


def check_used_sets(sets: Collection[str], no_set: str, finetuned: str) -> None:
    """Check the image sets that are described, trained on, validated on and evaluated.

    Args:
        sets: those that there are; no_set: stands for none; finetuned: the model that is trained.

    Raises:
        UserError: one does not exist, or what is validated on has another use; the key is named.
    """
    for key in ("describe.dataset", "finetune.dataset"):
        check_defined([read_value(key, str)], sets, key)
    validated = read_value("finetune.validation.dataset", str)
    check_defined([validated], [*sets, no_set], "finetune.validation.dataset")
    evaluated = ("evaluate.datasets", "evaluate.checks.datasets")
    used = {key: read_value(key, list[str]) for key in evaluated}
    for key, names_of_sets in used.items():
        check_defined(names_of_sets, sets, key)
    if finetuned not in read_value("evaluate.models", list[str]):
        used = {}
    used["finetune.dataset"] = [read_value("finetune.dataset", str)]
    for fault in used_twice(validated, used):
        raise UserError(f"{PARAMS_FILE}: {fault}")
