"""The text sets that classify or are attacked, and whether each has texts for its image sets."""

from collections.abc import Iterator, Sequence

from pipeline.common.errors import UserError
from pipeline.embeddings.tables import templates_of, text_sets_in_use
from pipeline.results.same_texts import describe_same_texts, fill_templates, same_texts
from pipeline.zeroshot.text_sets import DESCRIPTIONS
from saft.check.plan import Plan
from saft.check.sets import SetState


def in_use(plan: Plan) -> list[tuple[str, str]]:
    """(text set, image set) that `embed` encodes for finetune, evaluate and check."""
    return text_sets_in_use(
        trained=plan.finetune.dataset,
        datasets=plan.evaluate.datasets,
        texts=plan.evaluate.texts,
        attacker=plan.evaluate.attacker,
        checked=plan.checks.datasets,
        check_texts=plan.checks.texts,
    )


def problems(plan: Plan) -> Iterator[str]:
    """What `embed` would refuse, a text set that has nothing for an image set in use; and what no
    stage would notice, one that gives two classes the same texts."""
    described = _described_ids(plan)
    for texts, dataset in in_use(plan):
        state = plan.sets.get(dataset)
        if state is None:
            continue  # part 1 says so
        if texts == DESCRIPTIONS:
            yield from _undescribed(state, described, f"{plan.file}")
        elif texts in plan.embed.texts:
            try:
                templates = templates_of(texts, dataset, plan.embed, _own_templates(state))
            except UserError as error:
                yield str(error)
            else:
                yield from _indistinct(state, texts, templates, f"{plan.file}")


def _own_templates(state: SetState) -> tuple[str, ...]:
    """Those of a set that nobody has seen are not known: any will do."""
    unknown = state.state == "missing" or state.images is None
    return state.templates or (("{}",) if unknown else ())


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
