"""`saft compare`: the table and the plot of several runs."""

import csv
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from pipeline.common.errors import UserError
from pipeline.report import drawing, figures
from pipeline.results.accuracy import accuracies, verdicts
from pipeline.results.evaluated import read_evaluated
from pipeline.results.statistics import paired
from saft.compare import command as compare_cli
from saft.compare import experiments
from saft.compare import table as compare
from saft.compare.alike import check_alike, check_trains
from tests.support.project import DEMO
from tests.support.report_inputs import ATTACKS, EPSILON, make_tree, write_set

COST = {"seconds_per_epoch": 12.34, "peak_memory_bytes": 3 * 2**20}


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[compare.ComparedRun]:
    """Two methods on the same images as two other models; the second withstands less."""
    compared = []
    for label, strength, cost in (("SAFT", 0.7, COST), ("TeCoA", 0.5, None)):
        folder = tmp_path / label
        folder.mkdir()
        make_tree(folder)
        strengths = {"base": 0.02, "fare2": 0.4, "finetuned": strength}
        write_set(folder, "shapes", 300, strengths, 1)
        write_set(folder, "digits", 120, strengths | {"finetuned": 0.3}, 2)
        monkeypatch.chdir(folder)
        setting = ("template", list(ATTACKS), EPSILON, list(strengths))
        sets = [read_evaluated(name, *setting) for name in ("shapes", "digits")]
        compared.append(compare.ComparedRun(label, sets, cost, {"epochs": 3}))
    return compared


def test_lines_go_set_by_set_with_the_models_of_no_run_first(
    runs: list[compare.ComparedRun],
) -> None:
    lines = list(compare.table_rows(runs))
    order = [(line.dataset, line.label) for line in lines]
    models = ["base", "fare2", "SAFT", "TeCoA"]
    assert order == [(name, m) for name in ("shapes", "digits", "mean") for m in models]
    saft = runs[0].sets[0]
    assert lines[2].shares["robust"].value == accuracies(saft)["finetuned"]["robust"]
    assert lines[0].shares["pgd"].value == accuracies(saft)["base"]["pgd"]
    assert lines[1].shares["pgd"].value == accuracies(saft)["fare2"]["pgd"]
    mean = np.mean([accuracies(evaluated)["finetuned"]["apgd_ce"] for evaluated in runs[1].sets])
    assert lines[-1].shares["apgd_ce"] == pytest.approx(mean)


def test_every_other_method_is_tested_against_the_first(runs: list[compare.ComparedRun]) -> None:
    lines = {(line.dataset, line.label): line for line in compare.table_rows(runs)}
    assert lines["shapes", "SAFT"].change is None
    assert lines["shapes", "fare2"].change is None, "no run made it"
    first, second = (verdicts(run.sets[0], "robust")["finetuned"] for run in runs)
    assert lines["shapes", "TeCoA"].change == paired(first, second)
    assert lines["shapes", "TeCoA"].change.lost > lines["shapes", "TeCoA"].change.gained


def test_the_table_shows_counts_intervals_and_costs(runs: list[compare.ComparedRun]) -> None:
    table = compare.markdown(runs).splitlines()
    assert len(table) == 2 + 3 * 4
    assert {line.count("|") for line in table} == {table[0].count("|")}
    assert "| PGD | APGD-CE | worst case | against SAFT |" in table[0]
    assert re.search(r"\| 12\.3 \| 3 \|$", table[12]), "SAFT's cost stands with its mean"
    assert table[13].endswith("|  |  |"), "nobody measured TeCoA's"
    for text in ("ε = 4/255", "l∞", "float32", "steps 20", "McNemar", "Wilson"):
        assert text in compare.caption(runs)


def test_the_numbers_are_the_same_in_table_csv_and_plot(runs: list[compare.ComparedRun]) -> None:
    head, *rows = compare.csv_rows(runs)
    assert len(rows) == 3 * 4 * 4
    values = {tuple(row[:3]): row for row in rows}
    robust = values["shapes", "TeCoA", "robust"]
    assert robust[head.index("correct")] / robust[head.index("images")] == pytest.approx(
        robust[head.index("accuracy")], abs=1e-4
    )
    points = compare.scatter_points(runs)
    assert [label for label, *_ in points] == ["base", "fare2", "SAFT", "TeCoA"]
    assert [hollow for *_, hollow in points] == [True, True, False, False]
    assert round(points[3][2], 4) == values["mean", "TeCoA", "robust"][3]
    draw = [figures.clean_against_robust([figures.Point(*p) for p in points], "x") for _ in "12"]
    plots = [drawing.svg(*arguments) for arguments in draw]
    assert plots[0] == plots[1], "same data, same bytes"
    assert b"<svg" in plots[0]


def test_files_are_written_as_a_whole(runs: list[compare.ComparedRun], tmp_path: Path) -> None:
    out = tmp_path / "comparison"
    compare_cli.write(out, runs)
    assert sorted(f.name for f in out.iterdir()) == ["clean-robust.svg", "table.csv", "table.md"]
    with (out / "table.csv").open() as file:
        assert list(csv.reader(file))[0][:3] == ["dataset", "model", "measure"]


def test_runs_that_were_evaluated_differently_are_refused(runs: list[compare.ComparedRun]) -> None:
    check_alike(runs)
    saft, other = runs
    evaluated = other.sets[0]

    def changed(**values: object) -> compare.ComparedRun:
        first = evaluated.attacks[0]
        metrics = {m: of.model_copy(update=values) for m, of in first.metrics.items()}
        attacks = [replace(first, metrics=metrics), *evaluated.attacks[1:]]
        return other._replace(sets=[replace(evaluated, attacks=attacks), *other.sets[1:]])

    def without(model: str) -> compare.ComparedRun:
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
            other._replace(training={"epochs": 9}),
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


def test_what_an_attack_did_otherwise_is_told(runs: list[compare.ComparedRun]) -> None:
    first = runs[1].sets[0].attacks[0]
    assert first.notes == ""
    noted = {m: of.model_copy(update={"note": "2 targets each"}) for m, of in first.metrics.items()}
    runs[1].sets[0].attacks[0] = replace(first, metrics=noted)
    assert "PGD on shapes: 2 targets each." in compare.caption(runs)


def test_methods_and_their_options_are_checked_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(DEMO, tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    spec = experiments.parse("saft:attention_norm=channel")
    assert spec == ("saft", {"attention_norm": "channel"})
    assert spec.experiment == "compare-saft-attention-norm-channel"
    assert experiments.default_methods()[0] == "saft"
    with pytest.raises(UserError, match="'safd' is not one of .*saft"):
        experiments.parse("safd")
    for text in ("saft:attention=1", "saft:attention_norm"):
        with pytest.raises(UserError, match=r"is no option of saft; params.yaml.*attention_norm"):
            experiments.parse(text)


def test_what_no_method_changes_is_refused_before_anything_runs() -> None:
    check_trains(["base", "finetuned"], "params.yaml")
    with pytest.raises(UserError, match="params.yaml: evaluate.models is base; add finetuned"):
        check_trains(["base"], "params.yaml")


def test_runs_on_other_images_are_refused_where_only_what_they_trained_is_evaluated(
    runs: list[compare.ComparedRun],
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
