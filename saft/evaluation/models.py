"""A model as it is named on the command line -> an entry of section `models`.

base                                   a name of section models, or finetuned
ViT-B-32-quickgelu/openai              open_clip's name and tag
hf-hub:org/repository                  a repository of the Hugging Face hub
path/to/folder                         an open_clip or transformers folder
path/to/checkpoint.pt                  a checkpoint, in the CLIP that --clip names
mine=path/to/checkpoint.pt             any of these but the first under a name of its own

A folder or file has the fingerprint of its content in its name, see `saft.evaluation.paths`.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.clip.folders import FINETUNED
from pipeline.common.errors import UserError
from pipeline.common.names import LONGEST, fault
from saft.evaluation import paths

HUB = "hf-hub:"
TAGGED = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
REPOSITORY = re.compile(rf"{HUB}{TAGGED.pattern}", re.ASCII)


class NamedModel(NamedTuple):
    """name: in evaluate.models; section: its entry of section `models`, None where it has one."""

    name: str
    section: dict[str, Any] | None


class Source(NamedTuple):
    """source, options, defended: of the entry; path: of what lies on this machine."""

    source: str
    options: dict[str, Any]
    defended: bool | str
    path: Path | None


def parse(text: str, models: Mapping[str, Any], clip: str | None) -> NamedModel:
    """The model that `text` names.

    Args:
        models: section `models`.
        clip: the CLIP around a checkpoint, as name and tag, or a repository of the hub.

    Raises:
        UserError: it names nothing, or a checkpoint without a CLIP around it.
    """
    if text in models or text == FINETUNED:
        return NamedModel(text, None)
    alias, spec = _split(text)
    if spec in models or spec == FINETUNED:
        raise UserError(f"{text}: '{spec}' is a name already, of section models; write {spec}")
    source, options, defended, path = _source(spec, models, clip)
    short = alias or paths.plain_name(_last(spec, path), "model")
    name = paths.with_fingerprint(short, path) if path else short
    section: dict[str, Any] = {
        "source": source, "options": options, "defended": defended, "licence": None,
        "citation": None,
    }  # fmt: skip
    for key in (alias or name, name):
        if key == FINETUNED or models.get(key, section) != section:
            raise UserError(f"{text}: there is a model '{key}' already; write NAME={spec}")
    return NamedModel(name, section)


def _split(text: str) -> tuple[str, str]:
    """ "mine=a.pt" -> ("mine", "a.pt"); without a name ("", text), as is a path with a = in it."""
    alias, sign, spec = text.partition("=")
    if not sign or paths.existing(text):
        alias, spec = "", text
    elif fault(alias) or not alias[0].isalpha():
        raise UserError(
            f"{text}: '{alias}' cannot be a NAME, which begins with a letter and has letters, "
            f"digits, _ and - only, at most {LONGEST} of them"
        )
    if not spec.strip():
        raise UserError(f"'{text}': an empty MODEL; name one, or leave it out")
    return alias, spec


def _source(spec: str, models: Mapping[str, Any], clip: str | None) -> Source:
    path = paths.existing(spec)
    if path is not None and path.is_dir():
        _check_folder(path)
        return Source("local", {"path": str(path)}, "unknown", path)
    if path is not None:
        if clip is None:
            raise UserError(
                f"{spec}: a checkpoint needs the CLIP it was trained from: "
                "--clip ViT-B-32-quickgelu/openai, for instance"
            )
        options = {"file": str(path), **published(clip, "--clip")}
        return Source("checkpoint", options, "unknown", path)
    if spec.startswith(HUB):
        return Source("pretrained", published(spec, "MODEL"), "unknown", None)
    if TAGGED.fullmatch(spec):  # what open_clip publishes, nobody has trained against attacks
        return Source("pretrained", published(spec, "MODEL"), False, None)
    known = ", ".join([*models, FINETUNED])
    raise UserError(
        f"{spec}: no file or folder, no name and tag of open_clip (ViT-B-32-quickgelu/openai), no "
        f"{HUB}organisation/repository, and none of the models {known}"
    )


def published(spec: str, where: str) -> dict[str, Any]:
    """Options of `pretrained`.

    Raises:
        UserError: `spec`, which stands at `where`, is no name and tag, and no repository.
    """
    if REPOSITORY.fullmatch(spec):
        return {"model": spec, "tag": None, "cache_dir": None}
    if not TAGGED.fullmatch(spec):
        raise UserError(
            f"{where} {spec}: write open_clip's name and tag, ViT-B-32-quickgelu/openai, or "
            f"{HUB}organisation/repository"
        )
    model, _, tag = spec.partition("/")
    return {"model": model, "tag": tag, "cache_dir": None}


def _last(spec: str, path: Path | None) -> str:
    """ "weights/Fare eps2.pt" -> "Fare eps2"; of a published model all of it."""
    return spec.removeprefix(HUB) if path is None else path.stem


def _check_folder(folder: Path) -> None:
    """Raise UserError unless a folder has a CLIP's config, and weights by a known name."""
    from pipeline.models.folders import config_of  # with torch: seconds to import

    _, names = config_of(folder)
    if not any((folder / name).is_file() for name in names):
        raise UserError(f"{folder}: holds no weights: none of {', '.join(names)}")
