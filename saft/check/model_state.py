"""The base model that the stage would give: its config, and where its weights come from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.clip.config import CONFIG_FILE, model_config
from pipeline.clip.folders import BASE_MODEL
from pipeline.clip.model import WEIGHTS_FILE
from pipeline.common.errors import UserError
from pipeline.common.options import load_plugin
from pipeline.cost import vision_transformer as vit
from pipeline.images.data_root import locate
from pipeline.model_sources import checkpoint, pretrain
from pipeline.models.params import BaseModelParams
from saft.check import published
from saft.check.part import error_line


@dataclass(frozen=True)
class ModelState:
    """config: open_clip's model_cfg, None where it is not known before the stage has run;
    remark: where the weights come from; problem: why the stage would fail, "" if nothing."""

    config: dict[str, Any] | None
    remark: str
    problem: str = ""

    @property
    def bytes(self) -> int:
        """Bytes of the weights of one model, image and text half; 0 where they are not known."""
        return published.weight_bytes(self.config) if self.config else 0

    @property
    def vit(self) -> vit.Vit:
        """Sizes of the image encoder.

        Raises:
            UserError: the config is not known, or it is not a ViT.
        """
        if self.config is None:
            raise UserError("the model's config is not known before stage base_model has run")
        return vit.read(self.config)


def inspect_model(params: BaseModelParams, image_size: int | None, runs: bool) -> ModelState:
    """What `base_model.source` would give; loads no weights.

    Args:
        image_size: of the set that `pretrain` learns from.
        runs: false where data/base_model is up to date.
    """
    if not runs and (BASE_MODEL / CONFIG_FILE).is_file():
        return ModelState(model_config(BASE_MODEL), f"{BASE_MODEL} is up to date")
    try:
        module, options = load_plugin(
            "pipeline.model_sources", "base_model", "source", params.source, params.options
        )
        if params.source in INSPECT:
            return INSPECT[params.source](options, image_size)
    except UserError as error:
        return ModelState(None, str(error), str(error))
    except OSError as error:  # of a path that params.yaml names
        problem = f"base_model.options.{params.source}: {error_line(error)}; fix the path"
        return ModelState(None, problem, problem)
    return ModelState(None, f"source {params.source}: seen when the stage runs")


def _pretrain(options: Any, image_size: int | None) -> ModelState:
    if image_size is None:
        return ModelState(None, "pretrained here, on images that are missing")
    config = pretrain.model_config(options, image_size)
    if image_size % options.patch_size:
        raise UserError(
            f"base_model: patches of {options.patch_size} pixels do not tile images of "
            f"{image_size}; change base_model.options.pretrain.patch_size"
        )
    if not Path(options.captions).is_file():
        raise UserError(f"base_model.options.pretrain.captions: {options.captions}: not found")
    return ModelState(config, f"pretrained here, {options.steps} steps of {options.batch_size}")


def _published(options: Any, _: int | None) -> ModelState:
    return ModelState(*published.inspect_published(options))


def _local(options: Any, _: int | None) -> ModelState:
    folder = locate(options.path)
    config = model_config(folder)
    if not (folder / WEIGHTS_FILE).is_file():
        raise UserError(
            f"{folder / WEIGHTS_FILE}: not found; base_model.options.local.path names a "
            "folder with it"
        )
    return ModelState(config, f"{folder}: there")


def _checkpoint(options: Any, _: int | None) -> ModelState:
    file = locate(options.file)
    if not file.is_file():
        raise UserError(f"{file}: not found; base_model.options.checkpoint.file names a file")
    if options.model.startswith(checkpoint.LOCAL):
        folder = locate(options.model.removeprefix(checkpoint.LOCAL))
        return ModelState(model_config(folder), f"{file} in {folder}: there")
    config, remark = published.inspect_published(options)
    return ModelState(config, f"{file}: there; around it {remark}")


INSPECT = {"pretrain": _pretrain, "pretrained": _published, "local": _local,
           "checkpoint": _checkpoint}  # fmt: skip
