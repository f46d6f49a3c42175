"""The base model to be: its config, and whether its weights are here or will be downloaded."""

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.clip import model as clip
from pipeline.clip.folders import BASE_MODEL
from pipeline.common.errors import UserError
from pipeline.common.options import load_plugin
from pipeline.cost import vision_transformer as vit
from pipeline.images.data_root import locate
from pipeline.model_sources import checkpoint, pretrain
from pipeline.models.params import BaseModelParams
from saft.check import published
from saft.check.part import Part, error_line

if TYPE_CHECKING:
    from saft.check.plan import Plan


@dataclass(frozen=True)
class ModelState:
    """config: open_clip's model_cfg, None where it is not known before the stage has run;
    remark: where the weights come from; problem: why the stage would fail, "" if nothing."""

    config: dict[str, Any] | None
    remark: str
    problem: str = ""

    @property
    def vit(self) -> vit.Vit:
        """Sizes of the image encoder.

        Raises:
            UserError: the config is not known, or it is no ViT.
        """
        if self.config is None:
            raise UserError("the model's config is not known before stage base_model has run")
        return vit.read(self.config)


def look(params: BaseModelParams, image_size: int | None, runs: bool) -> ModelState:
    """What `base_model.source` would give; loads no weights.

    Args:
        image_size: of the set that `pretrain` learns from.
        runs: false where data/base_model is up to date.
    """
    if not runs and (BASE_MODEL / clip.CONFIG_FILE).is_file():
        return ModelState(_folder_config(BASE_MODEL), f"{BASE_MODEL} is up to date")
    try:
        module, options = load_plugin(
            "pipeline.model_sources", "base_model", "source", params.source, params.options
        )
        if params.source in KNOWN:
            return KNOWN[params.source](options, image_size)
    except UserError as error:
        return ModelState(None, str(error), str(error))
    except OSError as error:  # of a path that params.yaml names
        problem = f"base_model.options.{params.source}: {error_line(error)}; mend the path"
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
    return ModelState(*published.look(options))


def _local(options: Any, _: int | None) -> ModelState:
    folder = locate(options.path)
    config = _folder_config(folder)
    if not (folder / clip.WEIGHTS_FILE).is_file():
        raise UserError(
            f"{folder / clip.WEIGHTS_FILE}: not found; base_model.options.local.path names a "
            "folder with it"
        )
    return ModelState(config, f"{folder}: there")


def _folder_config(folder: Path) -> dict[str, Any]:
    path = folder / clip.CONFIG_FILE
    try:
        config = json.loads(path.read_text(encoding="utf-8"))["model_cfg"]
        config["vision_cfg"]  # noqa: B018
    except FileNotFoundError:
        raise UserError(f"{path}: not found; is '{folder}' an open_clip folder?") from None
    except (ValueError, LookupError, TypeError) as error:
        raise UserError(f"{path}: not an open_clip config: {error!r}") from None
    return config


def _checkpoint(options: Any, _: int | None) -> ModelState:
    file = locate(options.file)
    if not file.is_file():
        raise UserError(f"{file}: not found; base_model.options.checkpoint.file names a file")
    if options.model.startswith(checkpoint.LOCAL):
        folder = locate(options.model.removeprefix(checkpoint.LOCAL))
        return ModelState(_folder_config(folder), f"{file} in {folder}: there")
    config, remark = published.look(options)
    return ModelState(config, f"{file}: there; around it {remark}")


KNOWN = {"pretrain": _pretrain, "pretrained": _published, "local": _local,
         "checkpoint": _checkpoint}  # fmt: skip


def model_bytes(plan: "Plan") -> int:
    """Bytes of the weights of one model, image and text half; 0 where they are not known."""
    if plan.model.config is None:
        return 0
    return published.all_bytes(plan.model.config)


def base_model(plan: "Plan") -> Part:
    """Part 5: the weights, and whether the images have the size that the model takes."""
    part = Part("base model")
    with contextlib.redirect_stderr(io.StringIO()):
        state = plan.model
    part.lines.append(state.remark)
    if state.problem:
        part.problems.append(state.problem)
        return part
    if state.config is None:
        return part
    found = state.vit
    part.lines.append(
        f"image encoder: {vit.weights(found) / 1e6:.1f} million weights, {found.layers} blocks of "
        f"width {found.width}, {found.tokens} tokens of {found.image_size} x {found.image_size}"
    )
    part.values = {"weights": vit.weights(found), "flop": vit.forward_flop(found)}
    part.problems += _fits(plan, found)
    return part


def _fits(plan: "Plan", found: vit.Vit) -> list[str]:
    """What `clip.check_fit` and `train_last_blocks` would refuse after all the preparing."""
    if not {"finetune", "evaluate"} <= plan.sound:  # part 1 says so
        return []
    names = [plan.finetune.dataset]
    if plan.evaluate.space == "model":
        names += [*plan.evaluate.datasets, *plan.checks.datasets]
    problems = [
        f"prepare.sets.{name}.size is {plan.sets[name].size}, the model takes "
        f"{found.image_size} x {found.image_size} pixels; set it to {found.image_size}"
        for name in dict.fromkeys(names)
        if name in plan.sets and plan.sets[name].size not in (None, found.image_size)
    ]
    last = plan.finetune.last_blocks
    if last is not None and last > found.layers:
        problems.append(
            f"{plan.file}: finetune.last_blocks is {last}, the image encoder has {found.layers}"
        )
    return problems
