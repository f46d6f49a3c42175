"""`saft info`: what is registered and installed, as text or as JSON."""

import json
from typing import Annotated, Any

import typer

from saft.errors import one_line_errors
from saft.inventory import collect
from saft.project import in_project


@in_project
@one_line_errors()
def main(
    as_json: Annotated[
        bool, typer.Option("--json", help="one JSON object on stdout, with all options")
    ] = False,
) -> None:
    """Show registered methods, attacks, description backends and data sets, versions, device."""
    inventory = collect()
    if as_json:
        typer.echo(json.dumps(inventory, indent=2))
        return
    for heading, items in inventory.items():
        typer.echo(f"{heading}:")
        rows = items.items() if isinstance(items, dict) else [(item, "") for item in items]
        for name, value in rows:
            text = _summary(value) if isinstance(value, dict) else value
            typer.echo(f"  {name:24}{text}".rstrip())


def _summary(plugin: dict[str, Any]) -> str:
    """One line on a plug-in: its title if it has one, and what a method was published with."""
    if "facts" in plugin:
        return _facts_line(plugin["facts"])
    published = plugin.get("published")
    if not published:
        return plugin.get("title", plugin["about"])
    attack = published["attack"]
    attacked = f"{attack['steps']} steps at {attack['epsilon_255']:g}/255" if attack else "none"
    return (
        f"{plugin['title']:10}published: {published['optimiser']}, rate "
        f"{published['learning_rate']:g}, {published['epochs']} epochs of "
        f"{published['batch_size']}, attack {attacked}"
    )


def _facts_line(facts: dict[str, Any]) -> str:
    """Size, default split and terms of a published data set."""
    split = facts["splits"][facts["split"]]
    return (
        f"{facts['title']}, {facts['split']}: {split['images']:,} images, "
        f"{split['classes']:,} classes; {facts['disk_gb']:g} GB on disk; {facts['licence']}"
    )
