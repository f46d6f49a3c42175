"""Published models before they are loaded: what is in the cache, what will be downloaded."""

from pathlib import Path
from typing import Any, NamedTuple

import open_clip

from pipeline.clip.config import CONFIG_FILE
from pipeline.cost import vision_transformer as vit
from pipeline.models import hub, repository_files, transformers_config, whole
from pipeline.models.configs import check_layout, read_repository_config
from pipeline.models.hub import HubParams
from pipeline.models.state_dicts import Fetch
from saft.check.part import Download, size

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
    check_layout(config, what)
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
    hub.check_untagged(options)
    repository, what = options.model.removeprefix(hub.HUB), hub.title(options)
    command, folder = _hub_command(repository, options), _hub_cache(options)

    def cached(name: str) -> Path | None:
        return _in_hub_cache(repository, name, options.cache_dir)

    config, names = _cached_config(cached, what)
    file = next(filter(None, map(cached, names)), None)
    if file:
        return Published(config, f"{what}: in the cache, {file}", None)
    count = weight_bytes(config) if config else None
    return _absent(what, config, command, Download(what, folder, count))


def inspect_file(spec: str, options: HubParams) -> Published:
    """A single file of a repository, named as `repository_files.file_of_repository` reads it.

    Raises:
        UserError: it names no file.
    """
    repository, name = repository_files.file_of_repository(spec)
    file = _in_hub_cache(repository, name, options.cache_dir)
    if file:
        return Published(None, f"{spec}: in the cache, {file}", None)
    command = _hub_command(f"{repository} {name}", options)
    return _absent(spec, None, command, Download(spec, _hub_cache(options), None))


def _cached_config(cached: Fetch, what: str) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    """(model_cfg, names that the weights may have) of a repository of which `cached` has files; of
    one with both layouts open_clip's counts, as for the stage."""
    if path := cached(CONFIG_FILE):
        config, names = read_repository_config(path, what), whole.OPEN_CLIP
    elif path := cached(transformers_config.CONFIG):
        config = transformers_config.read(path, cached(transformers_config.PREPROCESSOR), what)
        names = whole.TRANSFORMERS
    else:
        return None, ()
    check_layout(config["model_cfg"], what)
    return config["model_cfg"], names


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


def _in_hub_cache(repository: str, name: str, folder: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(repository, name, cache_dir=folder)
    return Path(cached) if isinstance(cached, str) else None


def _cached(about: dict[str, Any], folder: str | None) -> Path | None:
    """The file of a tag's weights, where open_clip would find it without network."""
    repository, _, file = about.get("hf_hub", "").rpartition("/")
    if repository:
        names = [file] if file else whole.OPEN_CLIP
        return next(filter(None, (_in_hub_cache(repository, x, folder) for x in names)), None)
    name = about.get("url", "").rpartition("/")[2]
    path = (Path(folder) if folder else URL_CACHE) / name
    return path if name and path.is_file() else None


def weight_bytes(config: dict[str, Any]) -> int:
    """Bytes of the weights of both halves, image and text, in float32."""
    return vit.FLOAT * (vit.weights(vit.read(config)) + vit.text_weights(config))
