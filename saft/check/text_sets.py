"""The text sets that classify or are attacked, and whether each has texts for its image sets."""

from typing import TYPE_CHECKING

from pipeline.common.errors import UserError
from pipeline.embeddings.tables import templates_of
from pipeline.zeroshot.text_sets import DESCRIPTIONS, SAME, TEMPLATE

if TYPE_CHECKING:
    from saft.check.plan import Plan


def problems(plan: "Plan") -> list[str]:
    """What `embed` would refuse: a text set that has nothing for an image set in use."""
    found_wrong: list[str] = []
    described = plan.sets.get(plan.describe.dataset)
    ids = {e.class_id for e in described.entries} if described else set()
    ids = ids & set(plan.describe.only) if plan.describe.only else ids
    for text, name in in_use(plan):
        found = plan.sets.get(name)
        if found is None or (text != DESCRIPTIONS and text not in plan.embed.texts):
            continue  # part 1 says so
        if text != DESCRIPTIONS:
            unknown = found.state == "missing" or found.images is None
            own = found.templates or (("{}",) if unknown else ())
            try:
                templates_of(text, name, plan.embed, own)
            except UserError as error:
                found_wrong.append(str(error))
        elif ids and found.entries and {e.class_id for e in found.entries} - ids:
            count = len({e.class_id for e in found.entries} - ids)
            found_wrong.append(
                f"{plan.file}: text set '{DESCRIPTIONS}': {count} of {len(found.entries)} classes "
                f"of '{name}' are not described; take it out of evaluate.texts and attacker, or "
                f"'{name}' out of evaluate.datasets"
            )
    return found_wrong


def in_use(plan: "Plan") -> list[tuple[str, str]]:
    """(text set, image set) that `embed` encodes for finetune, evaluate and check."""
    evaluate, checks = plan.evaluate, plan.checks
    pairs = [(TEMPLATE, plan.finetune.dataset)]
    pairs += [(text, name) for text in evaluate.texts for name in evaluate.datasets]
    pairs += [(checks.texts, name) for name in checks.datasets]
    if evaluate.attacker != SAME:
        pairs += [(evaluate.attacker, name) for name in [*evaluate.datasets, *checks.datasets]]
    return list(dict.fromkeys(pairs))
