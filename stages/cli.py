"""The `saft` command: what people do by hand (stages are run by `dvc repro`)."""

import importlib.metadata
import json
import platform
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline import registry
from pipeline.errors import UserError
from pipeline.params import PARAMS_FILE, read_value
from pipeline.prompts import FOLDER
from stages import descriptions_cli

app = typer.Typer(
    name="saft",
    help="Semantic-aware adversarial fine-tuning of CLIP. The pipeline itself runs by "
    "`dvc repro`; this command shows what is installed and registered, and looks after "
    "description artifacts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(descriptions_cli.app)
PLUGINS = {
    "data set sources": "pipeline.datasets",
    "base model sources": "pipeline.base_models",
    "description backends": "pipeline.descriptions",
    "methods": "pipeline.methods",
    "attacks": "pipeline.attacks",
}
PACKAGES = ("torch", "open_clip_torch", "dvc", "pyarrow", "pandas", "vllm")


@app.command()
def info(
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on stdout")] = False,
) -> None:
    """Show registered methods, attacks, description backends and data sets, versions, device."""
    found = collect()
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for heading, entries in found.items():
        typer.echo(f"{heading}:")
        rows = entries.items() if isinstance(entries, dict) else [(e, "") for e in entries]
        for name, value in rows:
            typer.echo(f"  {name:24}{value}".rstrip())


def collect() -> dict[str, Any]:
    """What `info` shows, as plain values."""
    return {
        **{heading: registry.names(package) for heading, package in PLUGINS.items()},
        "prompt sets": sorted(file.stem for file in FOLDER.glob("*.yaml")),
        "image sets": _image_sets(),
        "versions": {"python": platform.python_version()} | {p: _version(p) for p in PACKAGES},
        "device": _device(),
    }


def _image_sets() -> dict[str, str]:
    """The sets of params.yaml and where each comes from; none outside a project."""
    if not PARAMS_FILE.exists():
        return {}
    try:
        sets = read_value("prepare", dict[str, dict[str, Any]])
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
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

    from pipeline.device import VARIABLE, pick_device

    try:
        device = pick_device()
    except UserError as error:
        return {"error": str(error)}
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {"used": str(device), "name": name, "chosen by": f"{VARIABLE} or automatically"}


if __name__ == "__main__":
    app()
