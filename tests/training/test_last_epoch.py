"""The line on the last epoch: its numbers, and what they are of."""

import re

import pandas as pd
import pytest

from pipeline.clip.folders import MODEL
from pipeline.training.last_epoch import last_epoch
from tests.support.trainable import train
from tests.support.training_runs import recipe


def test_the_means_are_of_the_last_epoch_and_named() -> None:
    rows = [
        {"step": step, "loss": 9.0 if step < 2 else step, "adversarial_accuracy": step / 10,
         "clean_accuracy": 1.0}
        for step in range(5)
    ]  # fmt: skip
    line = last_epoch(rows, 10, recipe(batch_size=4))  # three batches
    assert line == (
        "finetune: last epoch, mean over its 3 training batches, each before its step: loss 3, "
        "accuracy 100.0 % clean, accuracy 30.0 % under the training attack (linf, epsilon 4/255, "
        "2 steps of 2/255); evaluate measures its own images, all after the training, under "
        "its own attacks"
    )
    plain = last_epoch([{"step": 0, "loss": 0.5}], 4, recipe(batch_size=4, attack=None))
    assert "each before its step: loss 0.5; evaluate measures its own images" in plain


@pytest.mark.parametrize("method", ["saft", "ft_clean"])
def test_the_stage_names_what_it_measured(trainable, capsys, method) -> None:
    train(method=method)
    [line] = [
        line for line in capsys.readouterr().out.splitlines() if line.startswith("finetune: last")
    ]
    log = pd.read_csv(MODEL / "training.csv").tail(2)  # 16 images in batches of 8
    assert "mean over its 2 training batches" in line
    assert f"accuracy {100 * log.clean_accuracy.mean():.1f} % clean" in line
    under_attack = re.search(r"accuracy ([\d.]+) % under the training attack \(linf, ", line)
    assert (under_attack is None) == (method == "ft_clean")
    if under_attack:
        assert float(under_attack[1]) == pytest.approx(
            100 * log.adversarial_accuracy.mean(), abs=0.1
        )
