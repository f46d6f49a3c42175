"""Published models before they are loaded: what is in the cache, what will be downloaded."""

from pathlib import Path
from typing import Any, NamedTuple

import open_clip

from pipeline.clip import model as clip
from pipeline.cost import vision_transformer as vit
from pipeline.models import hub
from pipeline.models.hub import HubParams
from saft.check.part import Download, size

HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
URL_CACHE = Path("~/.cache/clip").expanduser()  # open_clip's, of weights not on the hub


class Published(NamedTuple):
    """config: model_cfg, None where only the hub knows it; remark: where the weights come from;
    download: what the stage fetches, None where the cache has it."""

    config: dict[str, Any] | None
    remark: str
    download: Download | None


def offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids downloads."""
    from huggingface_hub.constants import HF_HUB_OFFLINE

    return HF_HUB_OFFLINE


def inspect_published(options: HubParams) -> Published:
    """What is known of a model before its stage runs.

    Raises:
        UserError: no such name or tag, or a layout that the pipeline does not take.
    """
    if options.model.startswith(hub.HUB):
        return _repository(options)
    config, what = hub.tagged_config(options)["model_cfg"], hub.title(options)
    hub.check_layout(config, what)
    about = open_clip.get_pretrained_cfg(options.model, options.tag)
    file = _cached(about, options.cache_dir)
    if file:
        return Published(config, f"{what}: in the cache, {file}", None)
    repository = about.get("hf_hub", "").rstrip("/")
    if repository:
        command = _hub_command(f'{repository} --include "open_clip*"', options)
        folder = _hub_cache(options)
    else:
        folder, url = _url_cache(options), about.get("url", "")
        command = f"curl --create-dirs -fLo {folder / Path(url).name} {url}"
    return _absent(what, config, command, Download(what, folder, weight_bytes(config)))


def _repository(options: HubParams) -> Published:
    """A repository of the hub: nothing is known of it but what the cache has."""
    from huggingface_hub import try_to_load_from_cache

    hub.check_untagged(options)
    repository, what = options.model.removeprefix(hub.HUB), hub.title(options)
    command = _hub_command(repository, options)
    path = try_to_load_from_cache(repository, clip.CONFIG_FILE, cache_dir=options.cache_dir)
    if not isinstance(path, str):
        return _absent(what, None, command, Download(what, _hub_cache(options), None))
    config = hub.read_repository_config(Path(path), what)["model_cfg"]
    hub.check_layout(config, what)
    file = _cached({"hf_hub": f"{repository}/"}, options.cache_dir)
    if file:
        return Published(config, f"{what}: in the cache, {file}", None)
    download = Download(what, _hub_cache(options), weight_bytes(config))
    return _absent(what, config, command, download)


def _absent(
    what: str, config: dict[str, Any] | None, command: str, download: Download
) -> Published:
    about = f"about {size(download.disk)}" if download.disk else "of unknown size"
    if offline():
        remark = "not in the cache, and HF_HUB_OFFLINE is set: on a machine with network"
        return Published(config, f"{what}: {remark} `{command}` fetches it, {about}", download)
    remark = f"not in the cache: dvc repro downloads it, {about}; `{command}` does so now"
    return Published(config, f"{what}: {remark}", download)


def _hub_command(what: str, options: HubParams) -> str:
    folder = f" --cache-dir {options.cache_dir}" if options.cache_dir else ""
    return f"hf download {what}{folder}"


def _hub_cache(options: HubParams) -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(options.cache_dir or HF_HUB_CACHE)


def _url_cache(options: HubParams) -> Path:
    return Path(options.cache_dir) if options.cache_dir else URL_CACHE


def _cached(about: dict[str, Any], folder: str | None) -> Path | None:
    """The file of the weights, where open_clip would find it without network."""
    from huggingface_hub import try_to_load_from_cache

    repository, _, file = about.get("hf_hub", "").rpartition("/")
    for name in [file] if file else HUB_FILES:
        cached = try_to_load_from_cache(repository, name, cache_dir=folder) if repository else None
        if isinstance(cached, str):
            return Path(cached)
    name = about.get("url", "").rpartition("/")[2]
    path = (Path(folder) if folder else URL_CACHE) / name
    return path if name and not repository and path.is_file() else None


def weight_bytes(config: dict[str, Any]) -> int:
    """Bytes of the weights of both halves, image and text, in float32."""
    return vit.FLOAT * (vit.weights(vit.read(config)) + vit.text_weights(config))
