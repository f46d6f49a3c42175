"""What is compared, as it is written on the command line: METHOD[:KEY=VALUE,...].

KEY is an option of the method (attention_norm), or the path of a key of params.yaml (filter.top_k);
VALUE is as in params.yaml, with commas only in brackets.
"""

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.common import registry
from pipeline.common.errors import UserError
from pipeline.common.params import PARAMS_FILE, parse
from pipeline.common.plain_values import problem
from pipeline.embeddings.training_captions import NO_CAPTIONS

Values = dict[str, Any]
METHOD, SEED = "finetune.method", "finetune.seed"
# sections of params.yaml that all runs share: what is measured, and the models it starts from
SHARED = ("data", "models", "pretrain", "evaluate", "report")
OPENING, CLOSING = "[{(", "]})"
_REMEDY = "write KEY=VALUE,..., with commas in brackets only: a=[1,2],b=3"


class Spec(NamedTuple):
    """A method and what differs from params.yaml.

    text: as typed; title: the method's; typed: KEY -> VALUE as typed; changes: path -> value.
    """

    text: str
    method: str
    title: str
    typed: dict[str, str]
    changes: dict[str, Any]

    @property
    def label(self) -> str:
        """The method's title, with the keys that were changed."""
        changed = ", ".join(f"{key} = {value}" for key, value in self.typed.items())
        return f"{self.title} ({changed})" if changed else self.title


def default_methods(values: Values) -> list[str]:
    """All registered methods that can be trained, SAFT first: without finetune.captions not those
    that train on captions."""
    names = registry.names("pipeline.methods")
    if Path(value_at(values, "finetune.captions")) == NO_CAPTIONS:
        modules = {name: registry.load("pipeline.methods", name, "saft compare") for name in names}
        names = [name for name in names if not modules[name].PUBLISHED.captions]
    return sorted(names, key=lambda name: (name != "saft", name))


def parse_spec(text: str, values: Values) -> Spec:
    """ "saft:attention_norm=channel,filter.top_k=3" -> Spec.

    Args:
        values: all of params.yaml, see `read_params`.

    Raises:
        UserError: no such method or key, a key that all runs share, or no value.
    """
    method, _, rest = text.partition(":")
    module = registry.load("pipeline.methods", method, "saft compare")
    typed: dict[str, str] = {}
    changes: dict[str, Any] = {}
    for change in split_changes(rest, text):
        key, sign, value = change.partition("=")
        path = _path(key, method, values, text)
        if not sign or not value.strip():
            raise UserError(f"'{text}': {key} has no value; {_REMEDY}")
        if path in changes:
            raise UserError(f"'{text}': {path} is there twice")
        typed[key], changes[path] = value, _value(value, key, text)
    return _checked(Spec(text, method, module.TITLE, typed, changes), values)


def split_changes(rest: str, text: str) -> list[str]:
    """ "a=[1,2],b=3" -> ["a=[1,2]", "b=3"]; empty ones are left out.

    Raises:
        UserError: a bracket that nothing closes, or opens; `text` is named.
    """
    parts, open_ones = [""], ""
    for character in rest:
        if character in OPENING:
            open_ones += CLOSING[OPENING.index(character)]
        elif character in CLOSING:
            if not open_ones.endswith(character):
                raise UserError(f"'{text}': nothing opens a '{character}'; {_REMEDY}")
            open_ones = open_ones[:-1]
        if character == "," and not open_ones:
            parts.append("")
        else:
            parts[-1] += character
    if open_ones:
        raise UserError(f"'{text}': a '{open_ones[-1]}' is missing; {_REMEDY}")
    return [part for part in parts if part]


def parse_seeds(text: str) -> list[int]:
    """ "0,1,2" -> [0, 1, 2].

    Raises:
        UserError: one is no integer from 0 on, or there twice.
    """
    seeds: list[int] = []
    for part in text.split(","):
        if not re.fullmatch(r"[0-9]{1,18}", part.strip()):
            raise UserError(f"--seeds: '{part}' is no integer from 0 on; write --seeds 0,1,2")
        if int(part) in seeds:
            raise UserError(f"--seeds: {int(part)} is there twice; write each seed once")
        seeds.append(int(part))
    return seeds


def with_changes(values: Values, changes: Mapping[str, Any]) -> Values:
    """A copy of params.yaml's values in which every path has its value."""
    values = copy.deepcopy(values)
    for path, value in changes.items():
        *above, last = path.split(".")
        section = values
        for part in above:
            section = section[part]
        section[last] = value
    return values


def value_at(values: Values, path: str) -> Any:
    """The value of a path; None where there is none."""
    value: Any = values
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _path(key: str, method: str, values: Values, text: str) -> str:
    """The path in params.yaml of a KEY, which must exist."""
    if "." not in key and key not in values:
        known = value_at(values, f"finetune.options.{method}") or {}
        if key not in known:
            raise UserError(
                f"'{text}': {key} is no option of {method}; "
                f"{PARAMS_FILE}: finetune.options.{method} has {', '.join(known)}"
            )
        return f"finetune.options.{method}.{key}"
    section: Any = values
    parts = key.split(".")
    for number, part in enumerate(parts):
        if not isinstance(section, dict) or part not in section:
            above = ".".join(parts[:number])
            known = ", ".join(map(str, section)) if isinstance(section, dict) else "no keys"
            raise UserError(f"'{text}': {PARAMS_FILE} has no {key}; {above or 'it'} has {known}")
        section = section[part]
    if len(parts) == 1:
        raise UserError(f"'{text}': {key} is a section of {PARAMS_FILE}; name a key of it")
    return key


def _value(text: str, key: str, spec: str) -> Any:
    try:
        value = parse(text, Path(key))
    except UserError:
        value, reason = None, "not a value as in params.yaml"
    else:
        reason = problem({key: value}) or ""
    if reason:
        raise UserError(f"'{spec}': {key}: {reason}; {_REMEDY}")
    return value


def _checked(spec: Spec, values: Values) -> Spec:
    after = with_changes(values, spec.changes)
    chosen = {"finetune": spec.method, "describe": value_at(after, "describe.backend")}
    for path in spec.changes:
        if reason := next(_refusals(path, values, chosen), ""):
            raise UserError(f"'{spec.text}': {path} {reason}")
    return spec


def _refusals(path: str, values: Values, chosen: Mapping[str, Any]) -> Iterator[str]:
    """Why a path cannot differ between runs.

    Args:
        chosen: section -> its plug-in.
    """
    if path == METHOD:
        yield "is METHOD itself, before the colon"
    for shared in _shared(values):
        if path == shared or path.startswith(f"{shared}."):
            yield f"is the same for all runs, or they could not be compared; edit {PARAMS_FILE}"
    section, *below = path.split(".")
    if below[:1] == ["options"] and below[1:2] != [chosen.get(section)]:
        yield f"changes nothing here: an option of another one than {chosen.get(section)}"


def _shared(values: Values) -> list[str]:
    """Paths of what all runs share: SHARED, image sets and texts that are evaluated."""
    evaluate = values["evaluate"]
    texts: Sequence[str] = [*evaluate["texts"], evaluate["attacker"]]
    sets = [f"prepare.sets.{name}" for name in evaluate["datasets"]]
    return [*SHARED, *sets, *(f"embed.texts.{name}" for name in texts)]
