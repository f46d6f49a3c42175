"""`saft compare`: which runs may stand in one table."""

import re
from dataclasses import replace
from pathlib import Path

import pyarrow.compute as pc
import pytest

from pipeline.common.errors import UserError
from pipeline.common.params import read_params
from saft.compare.alike import check_alike, check_trains, trained_by
from saft.compare.arms import ComparedRun
from tests.support.compared_runs import two_methods
from tests.support.project import DEMO


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[ComparedRun]:
    return two_methods(tmp_path, monkeypatch)


def test_runs_that_were_evaluated_differently_are_refused(runs: list[ComparedRun]) -> None:
    check_alike(runs)
    saft, other = runs
    evaluated = other.sets[0]

    def changed(**values: object) -> ComparedRun:
        first = evaluated.attacks[0]
        metrics = {m: of.model_copy(update=values) for m, of in first.metrics.items()}
        attacks = [replace(first, metrics=metrics), *evaluated.attacks[1:]]
        return other._replace(sets=[replace(evaluated, attacks=attacks), *other.sets[1:]])

    def without(model: str) -> ComparedRun:
        attacks = [
            replace(a, metrics={m: of for m, of in a.metrics.items() if m != model})
            for a in evaluated.attacks
        ]
        return other._replace(sets=[replace(evaluated, attacks=attacks), *other.sets[1:]])

    for run, message in (
        (changed(epsilon_255=1.0), "epsilon_255 is 4.0 against 1.0"),
        (without("fare2"), "evaluate.models is .*'fare2'.* against .'base', 'finetuned'"),
        (without("finetuned"), "TeCoA: evaluate.models is base, fare2; add finetuned"),
        (changed(options={"steps": 7}), "options is .* against {'steps': 7}"),
        (changed(seed=4), "SAFT and TeCoA were evaluated differently: seed is 3 against 4"),
        (
            other._replace(training={"finetune.epochs": 9}),
            "SAFT and TeCoA were trained differently: finetune.epochs is 3 against 9",
        ),
        (other._replace(sets=other.sets[:1]), r"evaluate.datasets is \['shapes', 'digits'\]"),
        (
            other._replace(
                sets=[replace(evaluated, attacks=evaluated.attacks[::-1]), *other.sets[1:]]
            ),
            "evaluate.attacks is",
        ),
    ):
        with pytest.raises(UserError, match=message):
            check_alike([saft, run])
    table = evaluated.attacks[0].predictions["fare2"]
    for column in ("robust_any", "clean_prediction"):
        index = table.schema.get_field_index(column)
        turned = pc.invert(table[column]) if column == "robust_any" else table["label"]
        evaluated.attacks[0].predictions["fare2"] = table.set_column(index, column, turned)
        with pytest.raises(UserError, match="differ in the model 'fare2'"):
            check_alike(runs)


def test_runs_differ_by_what_they_say_and_by_nothing_else(runs: list[ComparedRun]) -> None:
    def pair(first: dict[str, object], second: dict[str, object], *changed: str) -> None:
        one, other = runs
        check_alike(
            [
                one._replace(training=first),
                other._replace(training=second, changed=frozenset(changed)),
            ]
        )

    k = "filter.top_k"
    pair({k: 5}, {k: 3}, k)
    pair({"finetune.attack.steps": 2}, {"finetune.attack.steps": 3}, "finetune.attack")
    pair({"finetune.options.saft.x": 1}, {"finetune.options.tecoa.y": 1})
    for first, second, changed in (
        ({k: 5}, {k: 3}, "filter.rank_by"),
        ({k: 5}, {k: 3}, "filter.top"),
        ({"finetune.options.saft.x": 1}, {"finetune.options.saft.x": 2}, k),
        ({k: 5}, {}, "finetune.seed"),
    ):
        with pytest.raises(UserError, match="SAFT and TeCoA were trained differently: "):
            pair(first, second, changed)


def test_what_a_training_follows_from_leaves_out_what_was_not_chosen() -> None:
    values = read_params(DEMO)
    trained = trained_by(values)
    assert trained["filter.top_k"] == values["filter"]["top_k"]
    assert trained["finetune.attack.steps"] == values["finetune"]["attack"]["steps"]
    assert "finetune.options.saft.attention_norm" in trained
    assert trained["describe.backend"] == "bundled"
    for absent in ("finetune.method", "finetune.checkpoint_seconds"):
        assert absent not in trained
    assert not [key for key in trained if re.match(r"finetune\.options\.(?!saft\.)", key)]
    assert not [key for key in trained if re.match(r"describe\.options\.(?!bundled)", key)]


def test_what_no_method_changes_is_refused_before_anything_runs() -> None:
    check_trains(["base", "finetuned"], "params.yaml")
    with pytest.raises(UserError, match="params.yaml: evaluate.models is base; add finetuned"):
        check_trains(["base"], "params.yaml")


def test_runs_on_other_images_are_refused_where_only_what_they_trained_is_evaluated(
    runs: list[ComparedRun],
) -> None:
    alone = []
    for run in runs:
        sets = [
            replace(
                evaluated,
                attacks=[
                    replace(
                        attack,
                        metrics={"finetuned": attack.metrics["finetuned"]},
                        predictions={"finetuned": attack.predictions["finetuned"]},
                    )
                    for attack in evaluated.attacks
                ],
            )
            for evaluated in run.sets
        ]
        alone.append(run._replace(sets=sets))
    check_alike(alone)
    table = alone[1].sets[0].attacks[0].predictions["finetuned"]
    moved = pc.add(table["number"], 1)
    alone[1].sets[0].attacks[0].predictions["finetuned"] = table.set_column(
        table.schema.get_field_index("number"), "number", moved
    )
    with pytest.raises(UserError, match="SAFT and TeCoA differ in the images"):
        check_alike(alone)
