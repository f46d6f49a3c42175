"""Can the evaluation be trusted? The report's verdicts on measurements a sound attack passes.

After Carlini et al. 2019, "On evaluating adversarial robustness", and Athalye et al. 2018,
"Obfuscated gradients give a false sense of security". A check that fails does not say that a
number is wrong: it says that somebody must look before it is trusted.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from pipeline.results.accuracy import accuracies
from pipeline.results.evaluated import EvaluatedSet, model_title
from pipeline.soundness.measurements import (
    Check,
    CheckMeasurements,
    checks_of_measurements,
    slack,
)

UNDEFENDED = 0.05  # accuracy under attack that an undefended model may keep
GAP = 0.03  # PGD may leave this much more than APGD
DEAD = 0.5  # share of a gradient's entries that may be exactly zero
NOT_DEFENDED = "false"  # what about.json says of a model that nobody hardened against attacks


def run_checks(
    sets: Iterable[EvaluatedSet],
    measurements: Iterable[CheckMeasurements],
    defended: Mapping[str, str],
) -> list[Check]:
    """All checks, those over evaluated sets first.

    Args:
        defended: by model, `defended` of its about.json: "true", "false" or "unknown".
    """
    checks = [check_control(defended)]
    checks += [check for evaluated in sets for check in _of_set(evaluated, defended)]
    return checks + [
        check for measured in measurements for check in checks_of_measurements(measured)
    ]


def _of_set(evaluated: EvaluatedSet, defended: Mapping[str, str]) -> Iterator[Check]:
    """Of one data set: the undefended models, then the other checks of every model."""
    accuracy_of = accuracies(evaluated)
    for model in evaluated.models:
        if defended[model] == NOT_DEFENDED:
            yield check_undefended(evaluated, model, accuracy_of[model])
    for model in evaluated.models:
        yield check_attack_gap(_where(evaluated, model), accuracy_of[model])
    for model in evaluated.models:
        yield check_zero_gradients(evaluated, model)


def check_control(defended: Mapping[str, str]) -> Check:
    """An undefended model was attacked alike: without one, a weak attack would not show."""
    controls = [model_title(model) for model, said in defended.items() if said == NOT_DEFENDED]
    return Check(
        "there is a control",
        "the evaluation",
        True if controls else None,
        f"undefended, under the same attacks: {', '.join(controls)}"
        if controls
        else "no undefended model under the same attack: a weak attack would not show",
        "nobody knows whether these attacks bring down a model that nothing defends: add one "
        "(defended: false in section models) to evaluate.models",
    )


def check_undefended(
    evaluated: EvaluatedSet, model: str, accuracy_of: Mapping[str, float]
) -> Check:
    """An undefended model is near 0 under PGD (or the first attack, if PGD was not run)."""
    attack = "pgd" if "pgd" in accuracy_of else evaluated.about.attack
    # a model this weak has nothing to lose: that it falls shows nothing about the attack
    weak_model = accuracy_of["clean"] <= 2 * UNDEFENDED
    return Check(
        f"the undefended model falls (at most {UNDEFENDED:.0%} left)",
        _where(evaluated, model),
        None
        if weak_model and accuracy_of[attack] <= UNDEFENDED
        else accuracy_of[attack] <= UNDEFENDED,
        f"{accuracy_of[attack]:.1%} right under {attack}, {accuracy_of['clean']:.1%} clean",
        "an attack that leaves an undefended CLIP standing is too weak (too few steps, masked "
        "gradients, half precision) and flatters every model; or epsilon is so small for these "
        "images and this model that little can be learned from it: see the curve over epsilon",
    )


def check_attack_gap(where: str, accuracy_of: Mapping[str, float]) -> Check:
    """Fixed-step PGD and the strongest APGD that was run leave about the same: at most GAP more
    by PGD, and an APGD that leaves more than that beyond PGD was held back by something."""
    adaptive = [key for key in accuracy_of if key.startswith(("apgd", "autoattack"))]
    comparable = "pgd" in accuracy_of and bool(adaptive)
    strongest = min(adaptive, key=lambda key: accuracy_of[key]) if comparable else ""
    more = accuracy_of["pgd"] - accuracy_of[strongest] if comparable else 0.0
    return Check(
        f"PGD and APGD agree (gap at most {100 * GAP:g} points)",
        where,
        abs(more) <= GAP if comparable else None,
        f"{100 * more:+.1f} points against {strongest}"
        if comparable
        else "needs pgd and an apgd_* attack in evaluate.attacks",
        "PGD leaves more: its step size or number of steps does not suit this model, and its "
        "number is no measure of robustness; APGD leaves more: it was held back, for instance by "
        "an attacker with other texts than the classifier's. Read the worst case instead",
    )


def check_zero_gradients(evaluated: EvaluatedSet, model: str) -> Check:
    """Hardly any image's gradient is mostly exactly zero at the start."""
    shares = [
        result.predictions[model]["zero_gradient"].drop_null() for result in evaluated.attacks
    ]
    values = np.concatenate([share.to_numpy() for share in shares]) if shares else np.zeros(0)
    dead = int((values > DEAD).sum())
    return Check(
        "gradients are alive",
        _where(evaluated, model),
        dead <= slack(len(values)) if len(values) else None,
        f"{dead} of {len(values)} starts with more than {DEAD:.0%} zero entries; "
        f"mean {values.mean():.1%}"
        if len(values)
        else "no attack tells",
        "a gradient attack cannot move: the loss is saturated (its logits underflow) or the "
        "model masks its gradients; use apgd_dlr, apgd_t or autoattack, in float32",
    )


def _where(evaluated: EvaluatedSet, model: str) -> str:
    about = evaluated.about
    epsilon = f"ε = {about.epsilon_255:g}/255"
    return f"{about.dataset}, {about.texts.name}, {epsilon}, {model_title(model)}"
