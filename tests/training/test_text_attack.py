"""`finetune.attack.texts`: the attack on a text set of one's choice."""

from dataclasses import replace

import pytest
import torch

from pipeline.common.errors import UserError
from pipeline.training.batches import make_batch
from pipeline.training.text_attack import attacked_on
from pipeline.zeroshot.ensemble import ensemble_cross_entropy, ensemble_logits
from tests.support.training_runs import ATTACK, CPU, SCALE, Run, changed, recipe


def on(texts: str | None, **changes) -> object:
    return recipe(attack=replace(ATTACK, texts=texts), **changes)


def a_batch(run: Run):
    numbers = torch.arange(4).numpy()
    return make_batch(numbers, run.inputs.pixels[:4], run.inputs.labels, CPU)


@pytest.mark.parametrize("method", ["tecoa", "fare", "saft", "lore"])
@pytest.mark.parametrize("texts", ["descriptions", "template", "negated"])
def test_the_attack_ascends_the_cross_entropy_of_the_named_texts(clip_folder, method, texts):
    run = Run(clip_folder, on(texts, method=method))
    batch = a_batch(run)
    captions = {
        "descriptions": run.inputs.texts,
        "template": run.inputs.template[:, None],
        "negated": run.inputs.others["negated"],
    }[texts]
    logits = ensemble_logits(run.encoder(batch.images).pooled, captions, SCALE)
    expected = ensemble_cross_entropy(logits, batch.labels).sum()
    assert run.objective.attack_loss(run.encoder, batch.images, batch).equal(expected)
    plain = Run(clip_folder, recipe(method=method))
    first, second = (
        each.objective.losses(each.encoder, batch.images, batch)["loss"] for each in (run, plain)
    )
    assert first.equal(second)


def test_other_texts_under_attack_give_other_weights(clip_folder):
    weights = []
    for texts in (None, "negated"):
        run = Run(clip_folder, on(texts, method="tecoa"))
        run.go()
        weights.append(run.weights())
    assert changed(*weights)


def test_without_texts_or_without_an_attack_the_objective_stays_itself(clip_folder):
    run = Run(clip_folder, recipe())
    for chosen in (on(None), recipe(attack=None)):
        assert attacked_on(run.objective, run.inputs, chosen) is run.objective


def test_a_text_set_that_training_does_not_see_is_named(clip_folder):
    with pytest.raises(UserError, match=r"finetune\.attack\.texts: training sees no text set 'x'"):
        Run(clip_folder, on("x"))


def test_the_state_of_the_method_is_kept_through_the_attack(clip_folder, tmp_path):
    """LORE learns a multiplier; with other texts under attack it has to resume all the same."""
    chosen = on("negated", method="lore", learning_rate=1e-4)
    whole, killed, resumed = (Run(clip_folder, chosen) for _ in range(3))
    rows, states = whole.go(), []
    killed.go(save=lambda state: states.append({**state, "encoder": _copied(state["encoder"])}))
    assert states[0]["objective"]["network"]
    assert {"drift", "multiplier"} <= set(rows[0])
    resumed.objective.restore(whole.objective.state())
    assert resumed.objective.state()["network"].keys() == states[0]["objective"]["network"].keys()


def _copied(values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in values.items()}
