"""Strict, typed reading of one section of params.yaml.

Every stage owns a class derived from `Section`, kept next to the stage's code, so that a
new training knob changes no file that the description stage depends on.

DVC writes YAML 1.2 (`1e-05` is a float, `yes` is a string); PyYAML reads YAML 1.1 and
would hand the optimiser a string, so the file is read with ruamel.yaml.
"""

import copy
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, TypeAdapter, ValidationError
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import YAMLError

from pipeline.common import secrets
from pipeline.common.bounded_yaml import load_bounded
from pipeline.common.errors import UserError
from pipeline.common.param_errors import explain, quoting
from pipeline.common.plain_values import problem, shown
from pipeline.common.text_files import read_text

PARAMS_FILE = Path("params.yaml")
SECRET = (
    "holds a key or password, or looks so, and the file is in git; take it out (a server's key: "
    "export it as an environment variable, whose name, as OPENAI_API_KEY, is what "
    "describe.options.openai.api_key_env takes; a URL with a password: export SAFT_BASE_URL)"
)
MOST_BYTES = 16 * 2**20  # of a file of parameters


class Section(BaseModel):
    """Base of every params class: unknown keys, missing keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def _one_slot(text: str) -> str:
    if text.count("{}") != 1:
        raise ValueError("needs exactly one {}")
    return text


Template = Annotated[str, AfterValidator(_one_slot)]  # a sentence with one {}, the class name
S = TypeVar("S", bound=Section)
V = TypeVar("V")


def validate(values: Any, schema: type[S], where: str) -> S:
    """Check `values` against `schema`.

    Args:
        values: what the YAML file holds under `where`.
        schema: the params class.
        where: file and section, as the user should read it, e.g. "params.yaml: finetune".

    Raises:
        UserError: one line naming file, section, key and the reason, for every bad key.
    """
    if not isinstance(values, dict):
        raise UserError(f"{where}: expected a section with keys, found {shown(values)}")
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        clauses = explain(error.errors(), values)
        raise UserError("; ".join(f"{where}: {clause}" for clause in clauses)) from None


def read_params(file: Path = PARAMS_FILE) -> dict[str, Any]:
    """The whole params file as plain dictionaries.

    Raises:
        UserError: the file is missing, is not YAML, is not a mapping, or holds a key or password.
    """
    return copy.deepcopy(_checked(_text(file), file))


@lru_cache(maxsize=1)  # a stage reads several sections, and parsing takes 30 ms
def _checked(text: str, file: Path) -> dict[str, Any]:
    values = parse(text, file)
    if not isinstance(values, dict):
        raise UserError(f"{file}: expected sections, found {type(values).__name__}")
    for key in secrets.in_values(values):
        raise UserError(f"{file}: {key} {SECRET}")
    if reason := problem(values):
        raise UserError(f"{file}: {reason}")
    return values


def _text(file: Path) -> str:
    try:
        if (size := file.stat().st_size) > MOST_BYTES:
            raise UserError(f"{file}: {size} bytes; a file of parameters has at most {MOST_BYTES}")
        return read_text(file)
    except FileNotFoundError:
        raise UserError(f"{file}: not found; run from the folder that holds it") from None


def parse(text: str, file: Path) -> Any:
    """What the YAML `text` of `file` holds.

    Raises:
        UserError: it is not YAML, has a key twice, or stands for more than fits.
    """
    try:
        return load_bounded(text)
    except DuplicateKeyError as error:
        problem = str(error.problem).partition(" with value")[0]  # 'found duplicate key "a"'
        line = error.problem_mark.line + 1
        raise UserError(f"{file}: line {line}: {problem}; a name may be there once") from None
    except YAMLError as error:
        raise UserError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from None


def read_section(name: str, schema: type[S], file: Path = PARAMS_FILE) -> S:
    """Read and check section `name` (dots descend, e.g. "prepare.digits")."""
    return section_of(read_params(file), name, schema, file)


def section_of(values: dict[str, Any], name: str, schema: type[S], file: Path = PARAMS_FILE) -> S:
    """`read_section` of what `read_params` has read."""
    return validate(_descend(values, name, file), schema, f"{file}: {name}")


def read_value(name: str, kind: type[V], file: Path = PARAMS_FILE) -> V:
    """Read one value of another stage's section, e.g. ("evaluate.datasets", list[str])."""
    value = _descend(read_params(file), name, file)
    try:
        return TypeAdapter(kind, config=ConfigDict(strict=True)).validate_python(value)
    except ValidationError as error:
        expected = f"expected {kind}, found {shown(value)}"
        reason = quoting(error.errors()) or expected
        raise UserError(f"{file}: {name}: {reason}") from None


def _descend(values: Any, name: str, file: Path) -> Any:
    for part in name.split("."):
        if not isinstance(values, dict) or part not in values:
            raise UserError(f"{file}: '{name}' is missing")
        values = values[part]
    return values
