"""A model as it is named on the command line -> an entry of section `models`.

base                                   a name of section models, or finetuned
ViT-B-32-quickgelu/openai              open_clip's name and tag
hf-hub:org/repository                  a repository of the Hugging Face hub
path/to/folder                         an open_clip or transformers folder
path/to/checkpoint.pt                  a checkpoint, in the CLIP that --clip names
mine=path/to/checkpoint.pt             any of these under a name of its own
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.clip.about import FILE, read_about
from pipeline.clip.folders import FINETUNED, record_folder
from pipeline.common.errors import UserError

HUB = "hf-hub:"
TAGGED = re.compile(r"[\w.-]+/[\w.-]+")
USUAL_SIZE = 224
CONFIGS = {
    "open_clip_config.json": ("model_cfg", "vision_cfg", "image_size"),
    "config.json": ("vision_config", "image_size"),
}


class NamedModel(NamedTuple):
    """name: in evaluate.models; section: its entry of section `models`, None where it has one."""

    name: str
    section: dict[str, Any] | None


def parse(text: str, models: Mapping[str, Any], clip: str | None) -> NamedModel:
    """The model that `text` names.

    Args:
        models: section `models`.
        clip: the CLIP around a checkpoint, as name and tag, or a repository of the hub.

    Raises:
        UserError: it names nothing, or a checkpoint without a CLIP around it.
    """
    name, sign, spec = text.partition("=")
    if not sign:
        name, spec = "", text
    if not name and (spec in models or spec == FINETUNED):
        return NamedModel(spec, None)
    source, options = _source(spec, models, clip)
    name = name or _slug(spec)
    if name in models or name == FINETUNED:
        raise UserError(f"{text}: there is a model '{name}' already; write NAME={spec}")
    about = {"defended": "unknown", "licence": None, "citation": None}
    return NamedModel(name, {"source": source, "options": options, **about})


def _source(spec: str, models: Mapping[str, Any], clip: str | None) -> tuple[str, dict[str, Any]]:
    path = Path(spec).expanduser()
    if path.is_dir():
        return "local", {"path": str(path.absolute())}
    if path.is_file():
        if clip is None:
            raise UserError(
                f"{spec}: a checkpoint needs the CLIP it was trained from: "
                "--clip ViT-B-32-quickgelu/openai, for instance"
            )
        return "checkpoint", {"file": str(path.absolute()), **_published(clip)}
    if spec.startswith(HUB) or TAGGED.fullmatch(spec):
        return "pretrained", _published(spec)
    known = ", ".join([*models, FINETUNED])
    raise UserError(
        f"{spec}: no file or folder, no name and tag of open_clip (ViT-B-32-quickgelu/openai), no "
        f"{HUB}organisation/repository, and none of the models {known}"
    )


def _published(spec: str) -> dict[str, Any]:
    """Options of `pretrained`. Raises UserError where `spec` has no tag."""
    if spec.startswith(HUB):
        return {"model": spec, "tag": None, "cache_dir": None}
    model, slash, tag = spec.partition("/")
    if not slash:
        raise UserError(f"{spec}: write open_clip's name and tag, ViT-B-32-quickgelu/openai")
    return {"model": model, "tag": tag, "cache_dir": None}


def _slug(spec: str) -> str:
    """ "weights/Fare eps2.pt" -> "Fare-eps2": a folder, and a part of the names of stages."""
    last = spec.removeprefix(HUB).rstrip("/")
    last = last.replace("/", "-") if TAGGED.fullmatch(last) else Path(last).stem
    return re.sub(r"[^A-Za-z0-9_]+", "-", last).strip("-") or "model"


def image_size(model: NamedModel) -> int | None:
    """Side of the images that a model takes, in pixels; None where only its weights tell, or where
    its stage has not run."""
    if model.section is None:
        record = record_folder(model.name)
        return read_about(record).image_size if (record / FILE).is_file() else None
    options = model.section["options"]
    if model.section["source"] == "local":
        return _size_of_folder(Path(options["path"]))
    if options["model"].startswith(HUB):
        return None
    import open_clip  # with torch: seconds to import

    config = open_clip.get_model_config(options["model"])
    return int(config["vision_cfg"]["image_size"]) if config else None


def _size_of_folder(folder: Path) -> int | None:
    """From open_clip's or the transformers library's config."""
    for name, keys in CONFIGS.items():
        try:
            value: Any = json.loads((folder / name).read_text(encoding="utf-8"))
            for key in keys:
                value = value[key]
            return int(value)
        except (OSError, ValueError, LookupError, TypeError):
            continue
    return None
