"""A model that its stage would give: its config, and where its weights come from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.clip.config import CONFIG_FILE, model_config
from pipeline.clip.folders import clip_folder
from pipeline.common.errors import UserError
from pipeline.common.params import PARAMS_FILE
from pipeline.cost import vision_transformer as vit
from pipeline.images.data_root import locate
from pipeline.models import folders, hub, named, pretraining, state_dicts, whole
from pipeline.models.params import ModelParams
from pipeline.models.pretraining import PretrainParams
from saft.check import published
from saft.check.part import Download, error_line
from saft.plugin_params import model_options


class Training(NamedTuple):
    """An entry of section `pretrain`; image_size: of the set that it learns from, None where it is
    not known."""

    name: str
    params: PretrainParams
    image_size: int | None

    @property
    def config(self) -> dict[str, Any] | None:
        """open_clip's model_cfg; None where the size of the images is not known."""
        size = self.image_size
        return None if size is None else pretraining.model_config(self.params, size)


@dataclass(frozen=True)
class ModelState:
    """A model by its name. config: open_clip's model_cfg, None where it is not known before the
    stage has run; remark: where the weights come from; problem: why the stage would fail, "" if
    nothing; downloads: what the stage fetches."""

    name: str
    config: dict[str, Any] | None
    remark: str
    problem: str = ""
    downloads: tuple[Download, ...] = ()

    @property
    def bytes(self) -> int:
        """Bytes of the weights, image and text half; 0 where they are not known."""
        return published.weight_bytes(self.config) if self.config else 0

    @property
    def vit(self) -> vit.Vit:
        """Sizes of the image encoder.

        Raises:
            UserError: the config is not known, or it is not a ViT.
        """
        if self.config is None:
            raise UserError(f"the config of model '{self.name}' is not known before its stage ran")
        return vit.read(self.config)


def inspect_model(
    name: str, params: ModelParams, trainings: Mapping[str, Training], runs: bool
) -> ModelState:
    """What the source of a model would give; loads no weights.

    Args:
        trainings: the entries of section `pretrain`.
        runs: false where the model's folder is up to date.
    """
    folder, where = clip_folder(name), f"models.{name}"
    if not runs and (folder / CONFIG_FILE).is_file():
        return ModelState(name, model_config(folder), f"{folder} is up to date")
    try:
        options = model_options(params.source, params.options, f"{PARAMS_FILE}: {where}")
        if params.source in INSPECT:
            state = INSPECT[params.source](name, options, trainings)
            if state.config is not None:
                vit.read(state.config)
            return state
    except UserError as error:
        problem = str(error)
        if not problem.startswith((where, f"{PARAMS_FILE}: {where}", "pretrain.")):
            problem = f"{where}: {problem}"
        return ModelState(name, None, problem, problem)
    except OSError as error:  # of a path that params.yaml names
        problem = f"{where}.options: {error_line(error)}; fix the path"
        return ModelState(name, None, problem, problem)
    return ModelState(name, None, f"source {params.source}: seen when the stage runs")


def _pretrain(name: str, options: Any, trainings: Mapping[str, Training]) -> ModelState:
    training = trainings.get(options.training)
    if training is None:  # part 1 says so
        return ModelState(name, None, f"section pretrain has no '{options.training}'")
    where, params, size = f"pretrain.{training.name}", training.params, training.image_size
    if size is None:
        return ModelState(name, None, "pretrained here, on images that are missing")
    if size % params.patch_size:
        raise UserError(
            f"{where}: patches of {params.patch_size} pixels do not tile images of {size}; change "
            "its patch_size"
        )
    if not Path(params.captions).is_file():
        raise UserError(f"{where}.captions: {params.captions}: not found; name a file of captions")
    remark = f"pretrained here ({where}), {params.steps} steps of {params.batch_size}"
    return ModelState(name, training.config, remark)


def _published(name: str, options: Any, _: object) -> ModelState:
    model = published.inspect_published(options)
    state = ModelState(name, model.config, model.remark, **_to_fetch(name, model))
    return _with_origin(state, options.origin, options.cache_dir)


def _to_fetch(name: str, model: published.Published) -> dict[str, Any]:
    """`downloads` and `problem` of a state."""
    if model.download is None:
        return {}
    problem = f"models.{name}: {model.remark}" if published.offline() else ""
    return {"downloads": (model.download,), "problem": problem}


def _with_origin(state: ModelState, origin: str | None, cache_dir: str | None) -> ModelState:
    """`state` with what the stage fetches to compare a model with the CLIP that it comes from."""
    if origin is None or origin.startswith(named.LOCAL):
        return state
    model = published.inspect_published(named.origin_params(origin, cache_dir))
    if model.download is None:
        return state
    return _with(state, model, f"{state.remark}; its origin {model.remark}")


def _with(state: ModelState, model: published.Published, remark: str) -> ModelState:
    """`state` of a stage that needs `model` too."""
    fetched = _to_fetch(state.name, model)
    return replace(
        state,
        remark=remark,
        problem="; ".join(filter(None, (fetched.get("problem"), state.problem))),
        downloads=(*state.downloads, *fetched.get("downloads", ())),
    )


def _local(name: str, options: Any, _: object) -> ModelState:
    state = _folder(name, locate(options.path), "path")
    return _with_origin(state, options.origin, None)


def _folder(name: str, path: Path, option: str) -> ModelState:
    """A folder of open_clip or transformers, or the file of its weights."""
    what = "a folder of open_clip or transformers"
    existing = _existing(path, f"models.{name}.options.{option}", what)
    folder = folders.folder_of(existing)
    config, names = folders.config_of(folder)
    state_dicts.beginning(whole.weights_of(folder, names))
    return ModelState(name, config["model_cfg"], f"{folder}: there")


def _checkpoint(name: str, options: Any, _: object) -> ModelState:
    """The file and the CLIP around it: where both are missing, both are said."""
    if options.model.startswith(named.LOCAL):
        outer = _folder(name, locate(options.model.removeprefix(named.LOCAL)), "model")
    else:
        clip = published.inspect_published(options)
        outer = ModelState(name, clip.config, clip.remark, **_to_fetch(name, clip))
    if options.file.startswith(hub.HUB):
        weights = published.inspect_file(options.file, options)
        return _with(outer, weights, f"{weights.remark}; around it {outer.remark}")
    where = f"models.{name}.options.file"
    try:
        file = _existing(locate(options.file), where, "the checkpoint")
        state_dicts.beginning(whole.weights_file(file))
    except UserError as error:
        both = f"{error}{f'; around it {outer.remark}' if outer.downloads else ''}"
        return replace(outer, remark=both, problem=both)
    return replace(outer, remark=f"{file}: there; around it {outer.remark}")


def _existing(path: Path, key: str, what: str) -> Path:
    if path.exists():
        return path
    raise UserError(
        f"{key}: {path}: not found; put {what} there (below $SAFT_DATA, data.root or data/raw), or "
        "name where it lies"
    )


INSPECT: dict[str, Callable[[str, Any, Mapping[str, Training]], ModelState]] = {
    "pretrain": _pretrain,
    "pretrained": _published,
    "local": _local,
    "checkpoint": _checkpoint,
}
