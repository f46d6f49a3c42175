"""The table of `saft evaluate`: every model on every image set."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.results.accuracy import rows
from pipeline.results.evaluated import EvaluatedSet, model_title
from pipeline.results.metrics import NORMS, options_text
from saft.compare.texts import change_text, share_text


def markdown(sets: Sequence[EvaluatedSet], reference: str) -> str:
    """Accuracies in percent with 95 % Wilson intervals, and the paired test against `reference`
    on the worst case."""
    titles = {row.key: row.label for row in rows(sets[0], reference) if row.key in _keys(sets[0])}
    versus = [f"against {model_title(reference)}"] if len(sets[0].models) > 1 else []
    heads = ["image set", "epsilon", "model", *titles.values(), *versus]
    lines = [heads, ["---"] * len(heads), *_lines(sets, reference, bool(versus))]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def caption(sets: Sequence[EvaluatedSet]) -> str:
    """What the numbers are, in one paragraph."""
    about = sets[0].about
    attacks = "; ".join(f"{a.about.title} ({options_text(a.about)})" for a in sets[0].attacks)
    norm = NORMS.get(about.norm, about.norm)
    return (
        f"Accuracy in percent, 95 % Wilson intervals in brackets, over the images that stand "
        f"beside each set. Attack: {norm} in {about.space} pixels, {about.precision}, seed "
        f"{about.seed}; {attacks}. Under attack an image counts if it is right unperturbed and at "
        f"every iterate. Texts: '{about.texts.name}', the attacker sees '{about.attacker.name}'. "
        "Paired tests: images gained and lost in the worst case, exact McNemar p, not corrected "
        "for their number.\n"
    )


def checks_lines(counts: Mapping[str, int], values: Mapping[str, Any]) -> str:
    """What the report's checks say of the attack, one line; one more without a control.

    Args:
        counts: passed and failed, `checks` of reports/metrics.json.
        values: the params.yaml that was evaluated.
    """
    lines = f"Checks of the attack: {counts['passed']} passed, {counts['failed']} failed"
    lines += " (the report names them).\n" if counts["failed"] else ".\n"
    entries = (values["models"].get(name, {}) for name in values["evaluate"]["models"])
    if not any(entry.get("defended") is False for entry in entries):
        lines += (
            "no undefended control: an attack that is too weak would not show; name a model that "
            "nobody trained against attacks too, ViT-B-32-quickgelu/openai for instance.\n"
        )
    return lines


def _keys(evaluated: EvaluatedSet) -> list[str]:
    """clean, each attack, and the worst case where there are two attacks."""
    attacks = [attack.about.attack for attack in evaluated.attacks]
    return ["clean", *attacks, *(["robust"] if len(attacks) > 1 else [])]


def _lines(sets: Sequence[EvaluatedSet], reference: str, tested: bool) -> Iterator[list[str]]:
    for evaluated in sets:
        of_key = {row.key: row for row in rows(evaluated, reference)}
        shown = [row for key, row in of_key.items() if key in _keys(evaluated)]
        for number, model in enumerate(evaluated.models):
            about = evaluated.about
            images = f"`{about.dataset}` ({about.images} images, {about.pixels}² pixels)"
            head = [images, f"{about.epsilon_255:g}/255"] if not number else ["", ""]
            change = [change_text(of_key["robust"].changes[model])] if tested else []
            yield [
                *head,
                model_title(model),
                *(share_text(row.shares[model]) for row in shown),
                *change,
            ]
