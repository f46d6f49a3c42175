"""Checks that every name used in params.yaml is defined there, and that DVC can take it."""

from collections.abc import Iterable, Iterator
from typing import Any

from pipeline.clip.folders import BASE, FINETUNED
from pipeline.common.names import fault
from pipeline.common.options import used_twice
from pipeline.descriptions import prompts
from pipeline.descriptions.confusions import NO_CONFUSIONS, in_both
from pipeline.descriptions.exemplars import NO_EXEMPLARS
from pipeline.images.classes import NO_SET
from pipeline.results.matrix import MATRIX, repetitions
from pipeline.zeroshot.text_tables import DESCRIPTIONS, SAME, TEMPLATE
from saft.caption_files import captions_problems

Values = dict[str, Any]
# section, or key of one -> names below it that stand for something else
RESERVED = {
    "prepare.sets": {NO_SET: "none"},
    "exemplars": {NO_EXEMPLARS: "none"},
    "confusions.text": {NO_CONFUSIONS: "none"},
    "confusions.images": {NO_CONFUSIONS: "none"},
    "models": {FINETUNED: "the model that section finetune makes"},
    "embed.texts": {
        DESCRIPTIONS: "the kept descriptions",
        SAME: "the texts that classify, in evaluate.attacker",
    },
}
PRETRAIN = "pretrain"  # the model source whose option `training` is an entry of section pretrain
NAME_SETS = {"pretrain", "describe", "finetune", "evaluate"}  # the sections that name image sets


def not_plain(names: Iterable[str], key: str) -> Iterator[str]:
    """A line for each of `names`, the keys below `key`, that cannot be one."""
    for name in names:
        if reason := fault(name):
            yield f"{key}: {reason}"


def references(values: Values, sound: set[str]) -> Iterator[str]:
    """Names that are used but not defined, or that stand for something else, in the sections
    `sound` (see `saft.schema.sections`)."""
    yield from _reserved(values, sound)
    if "prepare" in sound:
        known = list(values["prepare"]["sets"])
        for key, name in named_sets(values, sound):
            if name not in known:
                yield f"{key}: prepare.sets has no set '{name}', only {', '.join(known)}"
    if {"finetune", "evaluate"} <= sound:
        yield from _validated(values["finetune"], values["evaluate"])
    if {"embed", "evaluate"} <= sound:
        yield from _text_sets(values["embed"]["texts"], values["evaluate"])
    if {"embed", "finetune"} <= sound:
        yield from _training_texts(values["embed"]["texts"], values["finetune"])
    if "finetune" in sound:
        yield from captions_problems(values, sound)
    if "describe" in sound:
        yield from _described(values)
    if "confusions" in sound:
        yield from _confused(values, sound)
    if {"models", "pretrain"} <= sound:
        yield from _trainings(values["models"], values["pretrain"])
    if "evaluate" in sound:
        yield from _repeated(values["evaluate"])
        if "models" in sound:
            yield from _evaluated(values["models"], values["evaluate"])
        if "report" in sound:
            yield from _reference(values["report"], values["evaluate"])


def _reserved(values: Values, sound: set[str]) -> Iterator[str]:
    for key, names in RESERVED.items():
        section, _, below = key.partition(".")
        if section not in sound:
            continue
        entries = values[section][below] if below else values[section]
        for name, meaning in names.items():
            if name in entries:
                yield f"{key}.{name}: this name stands for {meaning}; choose another"


def named_sets(values: Values, sound: set[str]) -> Iterator[tuple[str, str]]:
    """(key, image set) wherever one of the sections `sound` names an image set."""
    if "pretrain" in sound:
        for name, training in values["pretrain"].items():
            yield f"pretrain.{name}.dataset", training["dataset"]
    for section in ("describe", "finetune"):
        if section in sound:
            yield f"{section}.dataset", values[section]["dataset"]
    if "finetune" in sound:
        validated = values["finetune"]["validation"]["dataset"]
        yield from [("finetune.validation.dataset", validated)] if validated != NO_SET else []
    if "evaluate" in sound:
        for name in values["evaluate"]["datasets"]:
            yield "evaluate.datasets", name
        for name in values["evaluate"]["checks"]["datasets"]:
            yield "evaluate.checks.datasets", name


def _validated(finetune: Values, evaluate: Values) -> Iterator[str]:
    used = {"finetune.dataset": [finetune["dataset"]]}
    if FINETUNED in evaluate["models"]:
        used["evaluate.datasets"] = evaluate["datasets"]
        used["evaluate.checks.datasets"] = evaluate["checks"]["datasets"]
    yield from used_twice(finetune["validation"]["dataset"], used)


def _text_sets(texts: Values, evaluate: Values) -> Iterator[str]:
    known = {*texts, DESCRIPTIONS}
    named = [("evaluate.texts", name) for name in evaluate["texts"]]
    if evaluate["attacker"] != SAME:
        named += [("evaluate.attacker", evaluate["attacker"])]
    for key, name in named:
        if name not in known:
            yield f"{key}: '{name}' is not a text set; embed.texts has {', '.join(sorted(known))}"
    if TEMPLATE not in texts and FINETUNED in evaluate["models"]:
        yield f"embed.texts has no '{TEMPLATE}', which methods without descriptions train on"


def _training_texts(texts: Values, finetune: Values) -> Iterator[str]:
    known = f"embed.texts has {', '.join(sorted(texts))}"
    for name in finetune["texts"]:
        if name not in texts:
            yield f"finetune.texts: '{name}' is not a text set; {known}"
    attacked, seen = finetune["attack"]["texts"], [DESCRIPTIONS, TEMPLATE, *finetune["texts"]]
    if attacked is not None and attacked not in seen:
        yield (
            f"finetune.attack.texts: training sees no text set '{attacked}', only "
            f"{', '.join(seen)}; add it to finetune.texts"
        )


def _described(values: Values) -> Iterator[str]:
    describe, sets = values["describe"], values.get("exemplars")
    exemplars = [NO_EXEMPLARS, *(sets if isinstance(sets, dict) else ())]
    if describe["exemplars"] not in exemplars:
        yield f"describe.exemplars: '{describe['exemplars']}' is not one of {', '.join(exemplars)}"
    prompt_sets = sorted(path.stem for path in prompts.FOLDER.glob("*.yaml"))
    if describe["prompts"] not in prompt_sets:
        yield (
            f"describe.prompts: {prompts.FOLDER} has no '{describe['prompts']}', "
            f"only {', '.join(prompt_sets)}"
        )


def _confused(values: Values, sound: set[str]) -> Iterator[str]:
    entries = values["confusions"]
    yield from in_both(entries)
    known = [NO_CONFUSIONS, *entries["text"], *entries["images"]]
    if "describe" in sound and values["describe"]["confusions"] not in known:
        chosen = values["describe"]["confusions"]
        yield f"describe.confusions: '{chosen}' is not one of {', '.join(known)}"


def _trainings(models: Values, pretrain: Values) -> Iterator[str]:
    for name, model in models.items():
        training = model["options"].get("training")
        if model["source"] == PRETRAIN and isinstance(training, str) and training not in pretrain:
            known = ", ".join(pretrain) or "nothing"
            yield f"models.{name}.options.training: section pretrain has {known}, no '{training}'"


def used_sets(values: Values) -> set[str]:
    """The image sets that `dvc repro` prepares."""
    evaluate = values["evaluate"]
    models = [*evaluate["models"], *([BASE] if needs_base(evaluate) else [])]
    sources = {values["models"][name]["source"] for name in models if name in values["models"]}
    needed = {
        "evaluate": True,
        "finetune": FINETUNED in models,
        "describe": needs_base(evaluate),
        "pretrain": PRETRAIN in sources,
    }
    return {name for _, name in named_sets(values, {key for key in needed if needed[key]})}


def needs_base(evaluate: Values) -> bool:
    """Whether `dvc repro` needs model `base`: to fine-tune it, or to filter descriptions."""
    texts = [*evaluate["texts"], evaluate["attacker"]]
    return FINETUNED in evaluate["models"] or DESCRIPTIONS in texts


def _evaluated(models: Values, evaluate: Values) -> Iterator[str]:
    for name in dict.fromkeys(evaluate["models"]):
        if name not in models and name != FINETUNED:
            known = ", ".join([*map(str, models), FINETUNED])
            yield f"evaluate.models: section models has no '{name}'; there are {known}"
    if needs_base(evaluate) and BASE not in models:
        user = f"'{FINETUNED}' of evaluate.models is made"
        if FINETUNED not in evaluate["models"]:
            user = f"text set '{DESCRIPTIONS}' is filtered"
        yield f"models has no '{BASE}', from which {user}; add it"


def _repeated(evaluate: Values) -> Iterator[str]:
    for key in MATRIX:
        values: Any = evaluate
        for part in key.split(".")[1:]:
            values = values[part]
        yield from repetitions(key, values)


def _reference(report: Values, evaluate: Values) -> Iterator[str]:
    reference, models = report["reference"], evaluate["models"]
    if reference not in models:
        yield f"report.reference: '{reference}' is not in evaluate.models, {', '.join(models)}"
