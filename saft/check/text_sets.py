"""The text sets that classify or are attacked, and whether each has texts for its image sets."""

import itertools
from collections.abc import Iterator, Sequence

from pipeline.common.errors import UserError
from pipeline.embeddings.templates import templates_of
from pipeline.results.same_texts import describe_same_texts, fill_templates, same_texts
from pipeline.zeroshot.text_tables import DESCRIPTIONS, SAME, TEMPLATE
from saft.check.plan import Plan
from saft.check.sets import SetState


def in_use(plan: Plan) -> Iterator[tuple[str, str]]:
    """(text set, image set) for which `dvc repro` needs texts."""
    evaluate = plan.evaluate
    names = [*evaluate.texts, *([] if evaluate.attacker == SAME else [evaluate.attacker])]
    pairs = list(itertools.product(names, [*evaluate.datasets, *plan.checks.datasets]))
    if plan.trains:
        pairs.append((TEMPLATE, plan.finetune.dataset))
    yield from dict.fromkeys(pairs)


def count(plan: Plan, texts: str, dataset: str) -> int:
    """How many texts an image set has under a text set; 0 where that is not known."""
    state = plan.sets.get(dataset)
    classes = (state.classes if state else None) or 0
    if texts == DESCRIPTIONS:
        return plan.filter.top_k * classes
    if state is None or texts not in plan.embed.texts:
        return 0
    try:
        templates = templates_of(
            texts, dataset, plan.embed.texts[texts], state.templates or ("{}",)
        )
    except UserError:  # named among the problems
        return 0
    return len(templates) * classes


def problems(plan: Plan) -> Iterator[str]:
    """What `texts` and `embed` would refuse, a text set without texts for an image set in use; and
    what no stage would notice, one that gives two classes the same texts."""
    described = _described_ids(plan)
    for texts, dataset in in_use(plan):
        state = plan.sets.get(dataset)
        if state is None:
            continue  # part 1 says so
        if texts == DESCRIPTIONS:
            yield from _undescribed(state, described, f"{plan.file}")
        elif texts in plan.embed.texts:
            try:
                chosen = plan.embed.texts[texts]
                templates = templates_of(texts, dataset, chosen, _own_templates(state))
            except UserError as error:
                yield str(error)
            else:
                yield from _indistinct(state, texts, templates, f"{plan.file}")


def _indistinct(state: SetState, texts: str, templates: Sequence[str], file: str) -> Iterator[str]:
    names = {class_entry.class_id: class_entry.name for class_entry in state.class_entries}
    groups = same_texts(list(names), fill_templates(templates, list(names.values())))
    if groups:
        yield (
            f"{file}: {describe_same_texts(state.name, texts, groups)}: their name is "
            f"'{names[groups[0][0]]}', and no model can tell them apart; give one another name "
            "(classes.tsv of an image folder, `names` of a set of wnids) or leave "
            f"'{state.name}' out"
        )


def _own_templates(state: SetState) -> tuple[str, ...]:
    """Those of a set that nobody has seen are not known: any will do."""
    unknown = state.state == "missing" or state.images is None
    return state.templates or (("{}",) if unknown else ())


def _described_ids(plan: Plan) -> set[str]:
    """Ids of the classes that will have descriptions; empty where they are not known."""
    state = plan.sets.get(plan.describe.dataset)
    ids = {class_entry.class_id for class_entry in state.class_entries} if state else set()
    return ids & set(plan.describe.only) if plan.describe.only else ids


def _undescribed(state: SetState, described: set[str], file: str) -> Iterator[str]:
    missing = {class_entry.class_id for class_entry in state.class_entries} - described
    if described and missing:
        yield (
            f"{file}: text set '{DESCRIPTIONS}': {len(missing)} of {len(state.class_entries)} "
            f"classes of '{state.name}' are not described; take it out of evaluate.texts and "
            f"attacker, or '{state.name}' out of evaluate.datasets"
        )
