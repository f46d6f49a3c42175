"""Published models before they are loaded: what is in the cache, what will be downloaded."""

from pathlib import Path
from typing import Any

import open_clip

from pipeline.clip import model as clip
from pipeline.cost import vision_transformer as vit
from pipeline.models import hub
from pipeline.models.hub import HubParams
from saft.check.part import size

HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
URL_CACHE = Path("~/.cache/clip").expanduser()  # open_clip's, of weights not on the hub


def inspect_published(options: HubParams) -> tuple[dict[str, Any] | None, str]:
    """(model_cfg, where the weights come from); the config is None where only the hub knows it.

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
        return config, f"{what}: in the cache, {file}"
    origin = about.get("hf_hub", "").rstrip("/") or about.get("url", "")
    return (
        config,
        f"{what}: will be downloaded from {origin}, "
        f"about {size(weight_bytes(config))} (without network: source local, or fill the cache)",
    )


def _repository(options: HubParams) -> tuple[dict[str, Any] | None, str]:
    """A repository of the hub: nothing is known of it but what the cache has."""
    from huggingface_hub import try_to_load_from_cache

    hub.check_untagged(options)
    repository, what = options.model.removeprefix(hub.HUB), hub.title(options)
    path = try_to_load_from_cache(repository, clip.CONFIG_FILE, cache_dir=options.cache_dir)
    if not isinstance(path, str):
        return None, f"{what}: will be downloaded, of a size that its config will tell"
    config = hub.read_repository_config(Path(path), what)["model_cfg"]
    hub.check_layout(config, what)
    file = _cached({"hf_hub": f"{repository}/"}, options.cache_dir)
    origin = f"in the cache, {file}" if file else "its weights will be downloaded"
    return config, f"{what}: {origin}"


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
