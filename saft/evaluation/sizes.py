"""The sizes of images that models take and that image sets have, as far as params.yaml tells."""

from collections.abc import Mapping
from typing import Any

from pipeline.clip.about import FILE, read_about
from pipeline.clip.folders import BASE, FINETUNED, record_folder
from pipeline.common import registry
from pipeline.common.errors import UserError

Values = Mapping[str, Any]


def check_sizes(values: Values) -> None:
    """Raise UserError unless evaluated models and image sets have one size, where it matters and
    is known."""
    evaluate = values["evaluate"]
    if evaluate["space"] == "native":  # the models resize inside
        return
    sizes = {f"model '{name}'": model_size(name, values) for name in evaluate["models"]}
    for name in dict.fromkeys([*evaluate["datasets"], *evaluate["checks"]["datasets"]]):
        section = values["prepare"]["sets"].get(name)
        sizes[f"image set '{name}'"] = set_size(section) if section else None
    known = [(what, size) for what, size in sizes.items() if size is not None]
    for what, size in known[1:]:
        if size != known[0][1]:
            raise UserError(
                f"{known[0][0]} is for {known[0][1]} pixels, {what} for {size}: evaluate them in "
                "two commands, take a set of the model's size, or set evaluate.space: native"
            )


def model_size(name: str, values: Values) -> int | None:
    """Side in pixels of the images that a model of evaluate.models takes; None where only its
    weights tell.

    Raises:
        UserError: it is a folder that is no CLIP.
    """
    name = BASE if name == FINETUNED else name
    model = values["models"].get(name)
    if model is None:
        return None
    size = _size_of_options(model["source"], model["options"], values)
    return size if size is not None else _recorded(name, model["source"])


def _size_of_options(source: str, options: Values, values: Values) -> int | None:
    if "training" in options:
        training = values["pretrain"].get(options["training"])
        section = values["prepare"]["sets"].get(training["dataset"]) if training else None
        return set_size(section) if section else None
    import open_clip  # with torch: seconds to import

    from pipeline.images.data_root import locate
    from pipeline.models.folders import config_of
    from pipeline.models.hub import HUB
    from pipeline.models.named import LOCAL

    model = options["path"] if source == "local" else options["model"]
    if source == "local" or model.startswith(LOCAL):
        config = config_of(locate(model.removeprefix(LOCAL)))[0]["model_cfg"]
    elif model.startswith(HUB):
        return None
    else:
        config = open_clip.get_model_config(model)
    size = config["vision_cfg"].get("image_size", 224) if config else None
    return size if isinstance(size, int) else None


def _recorded(name: str, source: str) -> int | None:
    """What the model's stage wrote, where it has run for that source."""
    folder = record_folder(name)
    about = read_about(folder) if (folder / FILE).is_file() else None
    return about.image_size if about and about.source == source else None


def set_size(section: Values) -> int | None:
    """Side in pixels of the images of an entry of prepare.sets: its key, or what its source draws;
    None where neither says it."""
    source = registry.load("pipeline.datasets", section["source"], "prepare.sets")
    size = section.get("size", getattr(source, "SIZE", None))
    return size if isinstance(size, int) else None
