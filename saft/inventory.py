"""What is registered and installed: plug-ins with their options, image sets, models, versions,
device."""

import ast
import importlib.metadata
import platform
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipeline.clip.folders import clip_folder
from pipeline.common import registry
from pipeline.common.errors import UserError
from pipeline.common.params import PARAMS_FILE, read_value
from pipeline.descriptions.prompts import FOLDER
from pipeline.images.data_root import root
from pipeline.images.image_set import IMAGES
from pipeline.prepare.download import commands_for, is_fetchable
from pipeline.prepare.facts import Facts, published_facts

PLUGINS = {
    "data set sources": "pipeline.datasets",
    "model sources": "pipeline.model_sources",
    "description backends": "pipeline.backends",
    "methods": "pipeline.methods",
    "attacks": "pipeline.attacks",
}
PACKAGES = (
    "torch", "torchvision", "open_clip_torch", "timm", "pyautoattack", "dvc", "pyarrow", "pandas",
    "vllm",
)  # fmt: skip


def collect() -> dict[str, Any]:
    """What `info` shows, as plain values."""
    return {
        **{heading: plugin_table(package) for heading, package in PLUGINS.items()},
        "prompt sets": sorted(file.stem for file in FOLDER.glob("*.yaml")),
        "image sets": _image_sets(),
        "models": _models(),
        "versions": {"python": platform.python_version()} | {p: _version(p) for p in PACKAGES},
        "device": _device(),
    }


def plugin_table(package: str) -> dict[str, dict[str, Any]]:
    """Per plug-in the first sentence of its docstring, its options, and, for methods, the values
    they were published with."""
    return {
        name: {"about": about(f"{package}.{name}")} | _details(package, name)
        for name in registry.names(package)
    }


def about(module: str) -> str:
    """First sentence of a module's docstring; the module is not run."""
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    text = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split()).rstrip(".")


def _details(package: str, name: str) -> dict[str, Any]:
    module = registry.load(package, name, "saft info")
    details: dict[str, Any] = {"options": sorted(set(module.Params.model_fields) - {"source"})}
    if package in ("pipeline.methods", "pipeline.attacks"):
        details["title"] = module.TITLE
    if package == "pipeline.methods":
        details["published"] = asdict(module.PUBLISHED)
    facts = published_facts(module)
    if facts is not None:
        details |= {"title": facts.title, "facts": facts_as_values(facts)}
    return details


def facts_as_values(facts: Facts) -> dict[str, Any]:
    """The facts of a published data set as plain values, with the commands that get it."""
    values = asdict(facts) | {"downloads by itself": is_fetchable(facts)}
    values["splits"] = {name: split._asdict() for name, split in facts.splits.items()}
    values["archives"] = [archive._asdict() for archive in facts.archives]
    values["commands"] = commands_for(facts, facts.split, root())
    return values


def _image_sets() -> dict[str, str]:
    """The sets of params.yaml and where each comes from; none outside a project."""
    if not PARAMS_FILE.exists():
        return {}
    sets = read_value("prepare.sets", dict[str, dict[str, Any]])
    packed = {name: (IMAGES / name).is_dir() for name in sets}
    return {
        name: f"{spec.get('source', '?')}, {'packed' if packed[name] else 'not packed yet'}"
        for name, spec in sets.items()
    }


def _models() -> dict[str, str]:
    """The models of params.yaml and where each comes from; none outside a project."""
    if not PARAMS_FILE.exists():
        return {}
    models = read_value("models", dict[str, dict[str, Any]])
    states = {name: "there" if clip_folder(name).is_dir() else "not there yet" for name in models}
    return {name: f"{model.get('source', '?')}, {states[name]}" for name, model in models.items()}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _device() -> dict[str, str]:
    import torch  # seconds to import: only here, so that --help is quick

    from pipeline.clip.device import VARIABLE, pick_device

    try:
        device = pick_device()
    except UserError as error:
        return {"error": str(error)}
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {"used": str(device), "name": name, "chosen by": f"{VARIABLE} or automatically"}
