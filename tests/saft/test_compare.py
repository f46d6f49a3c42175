"""`saft compare`: the tables, the page and the plot of several runs."""

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.report.beyond import beyond_metrics
from pipeline.results.accuracy import accuracies, verdicts
from pipeline.results.statistics import paired, paired_runs, paired_seeds, spread
from saft.compare import command as compare_cli
from saft.compare import data, page, table, texts
from saft.compare.arms import Arm, ComparedRun, Failed
from tests.support.compared_runs import COST, FAILURE, compared, two_methods


@pytest.fixture
def arms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Arm]:
    """Two methods, without seeds."""
    return [Arm(run.label, {None: run}) for run in two_methods(tmp_path, monkeypatch)]


@pytest.fixture
def seeded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Arm]:
    """Two methods under the seeds 0 and 1, and one that failed under seed 1."""
    strengths = {"SAFT": (0.7, 0.76), "TeCoA": (0.5, 0.52), "FARE": (0.6,)}
    made: list[Arm] = []
    for label, of_seeds in strengths.items():
        of_arm: dict[int | None, ComparedRun | Failed] = {
            seed: compared(
                tmp_path / f"{label}-{seed}", monkeypatch, f"{label}, seed {seed}", strength
            )
            for seed, strength in enumerate(of_seeds)
        }
        made.append(Arm(label, of_arm if len(of_arm) > 1 else of_arm | {1: FAILURE}))
    return made


def row(arms: Sequence[Arm], dataset: str, label: str, seed: int | None = None) -> table.TableRow:
    """The one line of a model, or of one seed of it."""
    [match] = [
        line
        for line in table.table_rows(arms)
        if (line.dataset, line.label, line.seed) == (dataset, label, seed)
    ]
    return match


def robust(arm: Arm, index: int, seed: int | None = None) -> np.ndarray:
    run = arm.done[seed]
    return verdicts(run.sets[index], "robust")["finetuned"]


def test_lines_go_set_by_set_with_the_models_of_no_run_first(arms: list[Arm]) -> None:
    lines = list(table.table_rows(arms))
    order = [(line.dataset, line.label) for line in lines]
    models = ["base", "fare2", "SAFT", "TeCoA"]
    assert order == [(name, m) for name in ("shapes", "digits", "mean") for m in models]
    saft = arms[0].done[None].sets[0]
    assert lines[2].shares["robust"].value == accuracies(saft)["finetuned"]["robust"]
    assert lines[0].shares["pgd"].value == accuracies(saft)["base"]["pgd"]
    assert lines[1].shares["pgd"].value == accuracies(saft)["fare2"]["pgd"]
    sets = arms[1].done[None].sets
    mean = np.mean([accuracies(evaluated)["finetuned"]["apgd_ce"] for evaluated in sets])
    assert lines[-1].shares["apgd_ce"] == pytest.approx(mean)


def test_every_other_method_is_tested_against_the_first(arms: list[Arm]) -> None:
    assert row(arms, "shapes", "SAFT").change is None
    assert row(arms, "shapes", "fare2").change is None, "no run made it"
    change = row(arms, "shapes", "TeCoA").change
    assert change == paired(robust(arms[0], 0), robust(arms[1], 0))
    assert change.lost > change.gained


def test_an_arm_of_seeds_has_means_and_every_seed_by_itself(seeded: list[Arm]) -> None:
    order = [(x.label, x.seed) for x in table.table_rows(seeded) if x.dataset == "shapes"]
    assert order == [
        ("base", None), ("fare2", None),
        *((name, seed) for name in ("SAFT", "TeCoA", "FARE") for seed in (None, 0, 1)),
    ]  # fmt: skip
    shares = [robust(seeded[0], 0, seed).mean() for seed in (0, 1)]
    assert row(seeded, "shapes", "SAFT").shares["robust"] == spread(shares)
    assert row(seeded, "shapes", "SAFT", 1).shares["robust"].value == shares[1]
    means = [np.mean([robust(seeded[0], i, seed).mean() for i in (0, 1)]) for seed in (0, 1)]
    assert row(seeded, "mean", "SAFT").shares["robust"] == pytest.approx(spread(means))
    assert row(seeded, "mean", "SAFT").cost is None
    assert row(seeded, "mean", "SAFT", 1).cost == COST


def test_arms_are_tested_under_the_seeds_that_both_have(seeded: list[Arm]) -> None:
    def stacked(arm: Arm, seeds: Sequence[int]) -> np.ndarray:
        return np.stack([robust(arm, 0, seed) for seed in seeds])

    saft, tecoa, fare = seeded
    expected = paired_runs(stacked(saft, [0, 1]), stacked(tecoa, [0, 1]))
    assert row(seeded, "shapes", "TeCoA").change == expected
    assert row(seeded, "shapes", "TeCoA", 0).change is None, "arms are tested, not seeds"
    one = row(seeded, "shapes", "FARE").change
    assert one == paired_runs(stacked(saft, [0]), stacked(fare, [0]))
    assert (one.seeds, one.seed_p) == (1, None)
    gained = [
        np.mean([robust(tecoa, i, s).mean() - robust(saft, i, s).mean() for i in (0, 1)])
        for s in (0, 1)
    ]
    assert row(seeded, "mean", "TeCoA").change == pytest.approx(paired_seeds(np.array(gained)))


def test_the_best_arm_of_every_column_is_marked(arms: list[Arm], seeded: list[Arm]) -> None:
    for compared_arms in (arms, seeded):
        for name in ("shapes", "digits", "mean"):
            lines = [x for x in table.table_rows(compared_arms) if x.dataset == name and x.arm]
            for key in ("clean", "pgd", "apgd_ce", "robust"):
                top = max(table.value(x.shares[key]) for x in lines)
                for line in lines:
                    assert (key in line.best) == (table.value(line.shares[key]) == top)
    marked = [x for x in table.table_rows(seeded) if x.best]
    assert all(x.arm for x in marked), "neither a model that no run made, nor a single seed"
    assert "robust" in row(arms, "shapes", "SAFT").best
    assert re.search(r"\| SAFT \|[^\n]*\*\*\d", texts.markdown(arms))


def test_the_table_shows_counts_intervals_and_costs(arms: list[Arm]) -> None:
    lines = texts.markdown(arms).splitlines()
    assert len(lines) == 2 + 3 * 4
    assert {line.count("|") for line in lines} == {lines[0].count("|")}
    heads = "| PGD | APGD-CE | worst case | ECE clean | ECE PGD | against SAFT |"
    assert heads in lines[0]
    assert re.search(r"\| 12\.3 \| 3 \|$", lines[12]), "SAFT's cost stands with its mean"
    assert lines[13].endswith("|  |  |"), "nobody measured TeCoA's"
    caption = " ".join(texts.caption(arms))
    for text in ("ε = 4/255", "l∞", "float32", "steps 20", "McNemar", "Wilson"):
        assert text in caption
    assert "seeds" not in caption


def test_the_table_of_seeds_says_what_is_tested_and_that_two_are_few(seeded: list[Arm]) -> None:
    text = texts.markdown(seeded)
    assert re.search(r"\| SAFT, 2 seeds \| (\*\*)?\d+\.\d ± \d+\.\d", text)
    assert re.search(r"\| SAFT, seed 1 \| \d+\.\d \(\d+\.\d–\d+\.\d\) \|", text)
    assert "| FARE, 1 of 2 seeds |" in text
    assert re.search(r"\| FARE, seed 1 \| failed \| failed \| failed \| failed \|  \|", text)
    change = row(seeded, "shapes", "TeCoA").change
    shown = f"images p = {change.image_p:.2g}, seeds p = {change.seed_p:.2g} |"
    assert shown in text
    caption = " ".join(texts.caption(seeded))
    for words in (
        "not pooled", "sign-flip", "paired t-test", "1 degrees of freedom", "of 9.0 of their",
        "that is few", "compare-tecoa-seed-1 failed: dvc exp run did not end well",
    ):  # fmt: skip
        assert words in caption


def test_without_the_first_arm_there_is_a_table_and_no_test(seeded: list[Arm]) -> None:
    lost: list[Arm] = [Arm("SAFT", {0: FAILURE, 1: FAILURE}), *seeded[1:]]
    assert all(line.change is None for line in table.table_rows(lost))
    assert "Against SAFT: nothing, for it failed." in texts.caption(lost)
    assert "| SAFT, 0 of 2 seeds | failed |" in texts.markdown(lost)
    assert page.render(lost).count("failed") > 4


def test_the_numbers_are_the_same_in_table_csv_json_and_plot(arms: list[Arm]) -> None:
    head, *rows = data.csv_rows(arms)
    assert len(rows) == 3 * 4 * 4
    values = {tuple(line[:3]): line for line in rows}
    row = values["shapes", "TeCoA", "robust"]
    assert row[head.index("correct")] / row[head.index("images")] == pytest.approx(
        row[head.index("accuracy")], abs=1e-4
    )
    plot_points = table.plot_points(arms)
    assert [point.title for point in plot_points] == ["base", "fare2", "SAFT", "TeCoA"]
    assert [point.hollow for point in plot_points] == [True, True, False, False]
    assert round(plot_points[3].robust, 4) == values["mean", "TeCoA", "robust"][3]
    for line in data.numbers(arms, [])["rows"]:
        for key, measured in line["measures"].items():
            assert round(measured["value"], 4) == values[line["dataset"], line["model"], key][3]


def test_calibration_errors_are_the_report_s_in_all_four_forms(arms: list[Arm]) -> None:
    head, *rows = data.csv_rows(arms)
    errors = {tuple(line[:3]): line[head.index("ece")] for line in rows}
    in_json = {(x["dataset"], x["model"]): x["ece"] for x in data.numbers(arms, [])["rows"]}
    lines, html = texts.markdown(arms).splitlines(), page.render(arms)
    expected: dict[str, list[float]] = {"clean": [], "pgd": []}
    for index, name in enumerate(("shapes", "digits")):
        for model, label, run in (("finetuned", "TeCoA", arms[1]), ("base", "base", arms[0])):
            of_set = beyond_metrics(run.done[None].sets)[name][model]["calibration"]
            for key, state in (("clean", "clean"), ("pgd", "adversarial")):
                error = in_json[name, label][key]["value"]
                assert round(error, 4) == errors[name, label, key] == of_set[state]
                assert (
                    f"| {100 * error:.1f} |" in lines[2 + 4 * index + (3 if run is arms[1] else 0)]
                )
                assert f"<td>{100 * error:.1f}</td>" in html
                if label == "TeCoA":
                    expected[key].append(error)
            assert errors[name, label, "robust"] == "", "of no single attack"
    means = in_json["mean", "TeCoA"]
    assert {key: of["value"] for key, of in means.items()} == pytest.approx(
        {key: np.mean(of) for key, of in expected.items()}
    )
    assert "expected calibration error in percent (15 bins" in texts.caption(arms)[0]


def test_calibration_errors_of_seeds_have_a_deviation_and_failures_have_none(seeded) -> None:
    single = [row(seeded, "shapes", "SAFT", seed).ece["pgd"] for seed in (0, 1)]
    assert row(seeded, "shapes", "SAFT").ece["pgd"] == spread(single)
    assert row(seeded, "shapes", "FARE", 1).ece == {}
    head, *lines = data.csv_rows(seeded)
    rows = [dict(zip(head, line, strict=True)) for line in lines]
    deviations = {(x["measure"], x["ece_sd"] != "") for x in rows if x["seeds"] == 2}
    assert deviations == {("clean", True), ("pgd", True), ("apgd_ce", False), ("robust", False)}


def test_csv_and_json_of_seeds_tell_means_from_runs_and_failures(seeded: list[Arm]) -> None:
    head, *lines = data.csv_rows(seeded)
    rows = [dict(zip(head, line, strict=True)) for line in lines]
    [mean] = [
        x for x in rows
        if (x["dataset"], x["model"], x["measure"], x["seeds"]) == ("shapes", "SAFT", "robust", 2)
    ]  # fmt: skip
    singles = [
        x["accuracy"] for x in rows
        if (x["dataset"], x["model"], x["measure"]) == ("shapes", "SAFT", "robust")
        and x["seed"] != ""
    ]  # fmt: skip
    assert mean["accuracy"] == pytest.approx(np.mean(singles), abs=1e-4)
    assert mean["sd"] == pytest.approx(np.std(singles, ddof=1), abs=1e-4)
    failed = [x for x in rows if x["status"] == "failed"]
    assert {(x["model"], x["seed"], x["measure"]) for x in failed} == {("FARE", 1, "")}
    numbers = json.loads(json.dumps(data.numbers(seeded, page.on_front(seeded))))
    assert numbers["pareto_front"][0] == "SAFT"
    assert {x["name"]: x["status"] for x in numbers["experiments"]} == {
        **{f"compare-{name}-{s}": "ok" for name in ("SAFT", "TeCoA") for s in (0, 1)},
        "compare-FARE-0": "ok", "compare-tecoa-seed-1": "failed",
    }  # fmt: skip
    tested = [x["against_reference"] for x in numbers["rows"] if x["against_reference"]]
    assert {"image_p", "seed_p", "difference", "seeds"} <= set(tested[0])


def test_every_run_is_in_the_plot_and_arms_are_labelled(seeded: list[Arm]) -> None:
    plot_points = {point.title: point for point in table.plot_points(seeded)}
    assert list(plot_points) == ["base", "fare2", "SAFT", "TeCoA", "FARE"]
    assert {label: len(point.runs) for label, point in plot_points.items()} == {
        "base": 0, "fare2": 0, "SAFT": 2, "TeCoA": 2, "FARE": 1,
    }  # fmt: skip
    assert plot_points["SAFT"].robust == pytest.approx(
        np.mean([r for _, r in plot_points["SAFT"].runs])
    )


def test_the_page_is_self_contained_and_escaped(seeded: list[Arm]) -> None:
    named = [seeded[0]._replace(label="SAFT (filter.template = <b>{}</b>)"), *seeded[1:]]
    text = page.render(named)
    sources = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert len(sources) == 1
    assert sources[0].startswith("data:image/svg+xml;base64,")
    for unwanted in ("<script", "url(", "@import", "<b>{}"):
        assert unwanted not in text
    assert "&lt;b&gt;{}&lt;/b&gt;" in text
    assert "<h2>mean over the 2 image sets</h2>" in text
    assert text.count('<tr class="single">') == 3 * 6
    assert "compare-tecoa-seed-1" in text
    assert page.render(named) == text, "same runs, same bytes"


def test_files_are_written_as_a_whole(arms: list[Arm], tmp_path: Path) -> None:
    out = tmp_path / "comparison"
    compare_cli.write(out, arms)
    assert sorted(f.name for f in out.iterdir()) == sorted(compare_cli.FILES)
    with (out / "table.csv").open() as file:
        assert list(csv.reader(file))[0][:3] == ["dataset", "model", "measure"]
    assert json.loads((out / "table.json").read_text())["reference"] == "SAFT"


def test_what_an_attack_did_otherwise_is_told(arms: list[Arm]) -> None:
    sets = arms[1].done[None].sets
    first = sets[0].attacks[0]
    assert first.notes == ""
    noted = {m: of.model_copy(update={"note": "2 targets each"}) for m, of in first.metrics.items()}
    sets[0].attacks[0] = replace(first, metrics=noted)
    assert "PGD on shapes: 2 targets each." in texts.caption(arms)
