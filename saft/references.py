"""Checks that every name used in params.yaml is defined there, and that DVC can take it."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from pipeline.descriptions import prompts
from pipeline.descriptions.exemplars import NO_EXEMPLARS
from pipeline.zeroshot.text_sets import DESCRIPTIONS, SAME, TEMPLATE

Values = dict[str, Any]
# dvc.yaml makes names of stages and folders, and words of commands of them
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
DOTTED = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def not_plain(names: Iterable[str], key: str, dots: bool = False) -> Iterator[str]:
    """A line for each of `names`, the keys below `key`, that DVC cannot take.

    Args:
        dots: whether they may hold dots; where DVC looks a name up, a dot is a level to it.
    """
    allowed = "a to z, A to Z, 0 to 9, - and _" + (" and ." if dots else "")
    for name in names:
        if not (DOTTED if dots else PLAIN).fullmatch(name):
            yield (
                f"{key}: '{name}' cannot be a name, which is made of {allowed} and begins with a "
                "letter or digit; rename it"
            )


def references(values: Values, sound: set[str]) -> Iterator[str]:
    """Names that are used but not defined, in the sections `sound` (see `saft.schema.sections`)."""
    if "prepare" in sound:
        known = list(values["prepare"]["sets"])
        for key, name in named_sets(values, sound):
            if name not in known:
                yield f"{key}: prepare.sets has no set '{name}', only {', '.join(known)}"
    if {"embed", "evaluate"} <= sound:
        yield from _text_sets(values["embed"]["texts"], values["evaluate"])
    if "describe" in sound:
        yield from _described(values)


def named_sets(values: Values, sound: set[str]) -> Iterator[tuple[str, str]]:
    """(key, image set) wherever one of the sections `sound` names an image set."""
    for section in ("base_model", "describe", "finetune"):
        if section in sound:
            yield f"{section}.dataset", values[section]["dataset"]
    if "evaluate" in sound:
        for name in values["evaluate"]["datasets"]:
            yield "evaluate.datasets", name
        for name in values["evaluate"]["checks"]["datasets"]:
            yield "evaluate.checks.datasets", name


def _text_sets(texts: Values, evaluate: Values) -> Iterator[str]:
    known = {*texts, DESCRIPTIONS}
    named = [("evaluate.texts", name) for name in evaluate["texts"]]
    named += [("evaluate.checks.texts", evaluate["checks"]["texts"])]
    if evaluate["attacker"] != SAME:
        named += [("evaluate.attacker", evaluate["attacker"])]
    for key, name in named:
        if name not in known:
            yield f"{key}: '{name}' is not a text set; embed.texts has {', '.join(sorted(known))}"
    if TEMPLATE not in texts:
        yield f"embed.texts has no '{TEMPLATE}', which methods without descriptions train on"


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
