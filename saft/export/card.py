"""The model card of a fine-tuned model: Markdown with the hub's front matter.

Every number is one of data/models/finetuned/clip/recipe.json, reports/metrics.json or
data/evaluation, every name one of DVC's lock files. No clock, host or path: the same inputs give
the same bytes.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from pipeline.clip.folders import BASE, FINETUNED
from pipeline.common.errors import UserError, listed, printable
from pipeline.report.filter_section import origin
from pipeline.report.page import percent
from pipeline.results.files import METRICS
from pipeline.results.metrics import NORMS, options_text
from saft.export.inputs import Inputs

TEMPLATE = Path(__file__).with_name("model_card.md.j2")
FALLBACK = "a photo of a {}"  # for the example, where the classifier has no template
LISTED = 3  # templates; OpenAI's 80 are counted


def render(inputs: Inputs, name: str, layout: str = "open_clip") -> str:
    """The card of the model that is to be called `name`, in the layout "open_clip" or
    "transformers"."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": percent, "cell": cell, "line": line, "quoted": json.dumps}
    measured = [metrics[0] for metrics in inputs.measured.values()]
    first = next(iter(inputs.measured.values()))
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        name=name,
        layout=layout,
        inputs=inputs,
        recipe=inputs.recipe,
        training=training_rows(inputs),
        rows=result_rows(inputs),
        mean=inputs.results.mean,
        attacks=[(metrics.title, options_text(metrics)) for metrics in first],
        threat=first[0],
        norm=NORMS.get(first[0].norm, first[0].norm),
        texts=[(m.dataset, texts_line(m.texts.templates)) for m in measured],
        # the shortest is the least about one data set
        example=min((t for m in measured for t in m.texts.templates), key=len, default=FALLBACK),
        notes=sorted({m.note for attacks in inputs.measured.values() for m in attacks if m.note}),
        NORMS=NORMS,
    )


def _left_out(recipe: Mapping[str, Any]) -> list[str]:
    """What `prepare` left out of the training set."""
    dropped = recipe.get("dropped", 0)
    unreadable = [f"{dropped} unreadable ones were left out"] if dropped else []
    return [*unreadable, *recipe.get("set_notes", [])]


def training_rows(inputs: Inputs) -> list[tuple[str, str]]:
    """(what, value) of the recipe, in the order of the card."""
    recipe, attack = inputs.recipe, inputs.recipe["attack"]
    rows = [
        ("method", f"{recipe['title']}{_options(recipe['options'])}"),
        ("image set", f"`{recipe['dataset']}`: {inputs.classes:,} classes"),
        ("class descriptions", descriptions_line(inputs.provenance)),
        ("images", "; ".join([f"{recipe['images']:,}", *_left_out(recipe)])),
        ("steps", f"{recipe['steps']:,} of {recipe['batch_size']} images"),
        ("epochs", f"{recipe['epochs']}{_early_end(recipe)}"),
        ("optimiser", recipe["optimiser"]),
        ("learning rate", f"{recipe['learning_rate']:g}, after {recipe['warmup_steps']} steps "
         "of warm-up, then cosine to zero"),
        ("momentum", f"{recipe['momentum']:g}"),
        ("weight decay", f"{recipe['weight_decay']:g}"),
        ("attack", attack_line(attack) if attack else "none, clean images"),
    ]  # fmt: skip
    if recipe.get("validation"):
        rows.append(("validation", validation_line(recipe)))
    if recipe["augmentation"] != "none":
        rows.append(("augmentation", recipe["augmentation"]))
    if recipe["blocks"] is not None:
        rows.append(("trained blocks", recipe["blocks"]))
    if lora := recipe["lora"]:
        rows.append(("LoRA", f"rank {lora['rank']}, alpha {lora['alpha']:g}, merged"))
    for key in ("gradient_clip", "averaging"):
        if recipe[key] is not None:
            rows.append((key.replace("_", " "), f"{recipe[key]:g}"))
    if recipe["mix_alpha"] != 1:
        rows.append(("share of the tuned weights", f"{recipe['mix_alpha']:g}"))
    return [(what, str(value)) for what, value in [*rows, ("seed", recipe["seed"])]]


def descriptions_line(provenance: Mapping[str, Any]) -> str:
    """Who wrote the descriptions of the classes; which methods train on them is no recipe's."""
    told = origin(provenance) or "of unknown origin"
    return f"{told} (for methods that train on descriptions)"


def attack_line(attack: dict[str, Any]) -> str:
    """The training attack in one line."""
    start = "random" if attack["random_start"] else "clean image"
    return (
        f"{NORMS.get(attack['norm'], attack['norm'])}, ε = {attack['epsilon_255']:g}/255, "
        f"{attack['steps']} steps of {attack['step_255']:g}/255, start: {start}"
    )


def validation_line(recipe: Mapping[str, Any]) -> str:
    """On what was validated while training, and which weights it chose."""
    section, saved, planned = recipe["validation"], recipe["saved_step"], recipe["planned_steps"]
    chosen = "last weights"
    if section["keep_best"]:
        chosen = f"best weights, saved after step {saved + 1:,} of {planned:,} planned"
    return f"set `{section['dataset']}`, {section['steps']}-step PGD; {chosen}"


def _early_end(recipe: Mapping[str, Any]) -> str:
    """What follows the number of epochs where a validation ended the training before."""
    steps, planned = recipe["steps"], recipe.get("planned_steps", 0)
    return f" planned; stopped after {steps:,} of {planned:,} steps" if steps < planned else ""


def result_rows(inputs: Inputs) -> list[dict[str, Any]]:
    """Per data set what the table shows of it.

    Raises:
        UserError: reports/metrics.json has other data sets or measures.
    """
    rows, compared = [], [BASE, FINETUNED] if inputs.compares else [FINETUNED]
    for name, metrics in inputs.measured.items():
        shares = inputs.results.datasets.get(name, {})
        if not all({"clean", "robust"} <= set(shares.get(m, {})) for m in compared):
            raise UserError(f"{METRICS}: no accuracies of '{name}'; run `dvc repro report`")
        about = metrics[0]
        seen = f"{inputs.seen[name]} of {about.classes}"
        rows.append({"dataset": name, "images": about.images, "seen": seen, **shares})
    return rows


def texts_line(templates: list[str]) -> str:
    """The first templates, and how many more there are."""
    if not templates:
        return "its classes' descriptions"
    return listed([f"“{text}”" for text in templates], LISTED)


def cell(text: str) -> str:
    """`text` within a cell of a Markdown table."""
    return line(text).replace("|", "\\|")


def line(text: str) -> str:
    """`text` within a line of Markdown, without tags of HTML."""
    return printable(" ".join(str(text).split())).replace("<", "&lt;")


def _options(options: dict[str, Any]) -> str:
    listed = ", ".join(f"{key} {value}" for key, value in options.items())
    return f" ({listed})" if listed else ""
