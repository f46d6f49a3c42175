"""`saft info`: what is registered and installed, as text or as JSON."""

import ast
import importlib.metadata
import json
import platform
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.common import registry
from pipeline.common.errors import UserError
from pipeline.common.params import PARAMS_FILE, read_value
from pipeline.descriptions.prompts import FOLDER
from pipeline.images.data_root import root
from pipeline.prepare.download import commands_for, is_fetchable

PLUGINS = {
    "data set sources": "pipeline.datasets",
    "base model sources": "pipeline.model_sources",
    "description backends": "pipeline.backends",
    "methods": "pipeline.methods",
    "attacks": "pipeline.attacks",
}
PACKAGES = (
    "torch", "torchvision", "open_clip_torch", "timm", "pyautoattack", "dvc", "pyarrow", "pandas",
    "vllm",
)  # fmt: skip


def main(
    as_json: Annotated[
        bool, typer.Option("--json", help="one JSON object on stdout, with all options")
    ] = False,
) -> None:
    """Show registered methods, attacks, description backends and data sets, versions, device."""
    try:
        found = collect()
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for heading, entries in found.items():
        typer.echo(f"{heading}:")
        rows = entries.items() if isinstance(entries, dict) else [(e, "") for e in entries]
        for name, value in rows:
            text = _summary(value) if isinstance(value, dict) else value
            typer.echo(f"  {name:24}{text}".rstrip())


def _summary(plugin: dict[str, Any]) -> str:
    """One line on a plug-in: its title if it has one, and what a method was published with."""
    if "facts" in plugin:
        return _facts_line(plugin["facts"])
    found = plugin.get("published")
    if not found:
        return plugin.get("title", plugin["about"])
    attack = found["attack"]
    attacked = f"{attack['steps']} steps at {attack['epsilon_255']:g}/255" if attack else "none"
    return (
        f"{plugin['title']:10}published: {found['optimiser']}, rate {found['learning_rate']:g}, "
        f"{found['epochs']} epochs of {found['batch_size']}, attack {attacked}"
    )


def _facts_line(facts: dict[str, Any]) -> str:
    """Size, default split and terms of a published data set."""
    split = facts["splits"][facts["split"]]
    return (
        f"{facts['title']}, {facts['split']}: {split['images']:,} images, "
        f"{split['classes']:,} classes; {facts['disk_gb']:g} GB on disk; {facts['licence']}"
    )


def collect() -> dict[str, Any]:
    """What `info` shows, as plain values."""
    return {
        **{heading: plugins(package) for heading, package in PLUGINS.items()},
        "prompt sets": sorted(file.stem for file in FOLDER.glob("*.yaml")),
        "image sets": _image_sets(),
        "versions": {"python": platform.python_version()} | {p: _version(p) for p in PACKAGES},
        "device": _device(),
    }


def plugins(package: str) -> dict[str, dict[str, Any]]:
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
    found: dict[str, Any] = {"options": sorted(set(module.Params.model_fields) - {"source"})}
    if hasattr(module, "TITLE"):
        found["title"] = module.TITLE
    if hasattr(module, "FACTS"):
        found["title"], found["facts"] = module.FACTS.title, facts_of(module.FACTS)
    if hasattr(module, "PUBLISHED"):
        found["published"] = asdict(module.PUBLISHED)
    return found


def facts_of(facts: Any) -> dict[str, Any]:
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
    packed = {name: (Path("data/images") / name).is_dir() for name in sets}
    return {
        name: f"{spec.get('source', '?')}, {'packed' if packed[name] else 'not packed yet'}"
        for name, spec in sets.items()
    }


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
