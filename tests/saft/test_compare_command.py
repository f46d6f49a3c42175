"""`saft compare` as a command: what runs, what becomes of runs that fail, what is only shown."""

import json
import shlex
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner, Result

from pipeline.common.errors import UserError
from pipeline.common.params import read_params
from pipeline.results.evaluated import EvaluatedSet, read_evaluated
from saft.app import app
from saft.compare import experiments
from saft.compare.arms import ComparedRun
from saft.compare.runs import Run
from tests.support.report_inputs import ATTACKS, EPSILON, make_tree, write_set

TABLE = Path("reports/comparison/table.md")


def compare(*words: str) -> Result:
    return CliRunner().invoke(app, ["compare", *words])


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> list[EvaluatedSet]:
    """What every run has for its results."""
    folder = tmp_path_factory.mktemp("tree")
    make_tree(folder)
    strengths = {"base": 0.02, "finetuned": 0.7}
    write_set(folder, "shapes", 300, strengths, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return [read_evaluated("shapes", "template", list(ATTACKS), EPSILON, list(strengths))]


@pytest.fixture
def ran(
    project: Path, sets: list[EvaluatedSet], monkeypatch: pytest.MonkeyPatch
) -> dict[str, list[str]]:
    """The experiments that dvc would have run, with their arguments, in a fresh project; those with
    "fare" in their names fail."""
    started: dict[str, list[str]] = {}

    def run(name: str, changes: list[str]) -> bool:
        started[name] = list(changes)
        return "fare" not in name

    def read(one: Run, differing: list[str]) -> ComparedRun:
        if "missing" in one.spec.text or one.seed == 99:
            raise UserError(f"experiment {one.experiment} cannot be read (none)")
        return ComparedRun(one.label, sets, None, {}, frozenset(), one.experiment)

    monkeypatch.setattr(experiments, "run", run)
    monkeypatch.setattr(experiments, "read_run", read)
    return started


def test_every_method_runs_with_every_seed(ran: dict[str, list[str]]) -> None:
    result = compare("saft", "tecoa:filter.top_k=3", "--seeds", "1,2")
    assert result.exit_code == 0, result.output
    assert list(ran) == [
        "compare-saft-seed-1", "compare-saft-seed-2",
        "compare-tecoa-filter-top-k-3-seed-1", "compare-tecoa-filter-top-k-3-seed-2",
    ]  # fmt: skip
    last = ran["compare-tecoa-filter-top-k-3-seed-2"]
    assert {"finetune.seed=2", "finetune.method='tecoa'", "filter.top_k=3"} <= set(last)
    assert TABLE.read_text() in result.output
    assert "| TeCoA (filter.top_k = 3), 2 seeds |" in TABLE.read_text()


def test_a_failed_run_is_in_the_table_and_in_the_exit_code(ran: dict[str, list[str]]) -> None:
    result = compare("saft", "fare", "tecoa")
    assert result.exit_code == 1
    assert list(ran) == ["compare-saft", "compare-fare", "compare-tecoa"], "the others still run"
    assert "| FARE | failed | failed |" in TABLE.read_text()
    assert "| TeCoA | " in TABLE.read_text()
    last = result.stderr.splitlines()[-1]
    assert last == "error: saft compare: 1 of 3 runs failed: compare-fare; the table says so"
    assert "Traceback" not in result.output
    numbers = json.loads(TABLE.with_suffix(".json").read_text())
    assert [x["status"] for x in numbers["experiments"]] == ["ok", "failed", "ok"]


def test_what_cannot_be_read_is_a_failed_run_too(ran: dict[str, list[str]]) -> None:
    result = compare("saft", "--seeds", "1,99", "--no-run")
    assert result.exit_code == 1
    assert ran == {}
    assert "| SAFT, seed 99 | failed |" in TABLE.read_text()
    assert "experiment compare-saft-seed-99 cannot be read (none)" in TABLE.read_text()


def test_where_nothing_has_results_nothing_is_written(ran: dict[str, list[str]]) -> None:
    before = TABLE.read_text() if TABLE.exists() else None
    result = compare("fare")
    assert result.exit_code == 1
    assert (
        "error: saft compare: no run has results; compare-fare: dvc exp run did not end well"
        in (result.stderr)
    )
    assert (TABLE.read_text() if TABLE.exists() else None) == before


def test_the_list_has_the_arguments_of_each_run_and_runs_none(ran: dict[str, list[str]]) -> None:
    result = compare("saft", "tecoa", "--seeds", "0,1", "--list")
    assert result.exit_code == 0
    assert ran == {}
    lines = result.stdout.splitlines()
    assert len(lines) == 4
    compare("saft", "tecoa", "--seeds", "0,1")
    for line, (name, changes) in zip(lines, ran.items(), strict=True):
        words = shlex.split(line)
        assert words[:2] == ["--name", name]
        assert words[2:] == [part for change in changes for part in ("-S", change)]
    assert read_params()["finetune"]["seed"] == 0, "so that seed 0 is no change"
    assert "finetune.seed" not in lines[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["saft", "--seeds", "1,1"], "--seeds: 1 is there twice; write each seed once"),
        (["saft", "--seeds", "-1"], "--seeds: '-1' is no integer from 0 on; write --seeds 0,1,2"),
        (["saft", "--seeds", "x"], "--seeds: 'x' is no integer from 0 on; write --seeds 0,1,2"),
        (["saft:filter.nothing=1"], "'saft:filter.nothing=1': params.yaml has no filter.nothing"),
        (["saft", "saft"], "'saft' and 'saft' are the same run"),
    ],
)
def test_bad_input_is_one_line_before_anything_runs(
    ran: dict[str, list[str]], words: list[str], message: str
) -> None:
    result = compare(*words)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: saft compare: {message}")
    assert result.stderr.count("\n") == 1
    assert ran == {}


def test_a_folder_with_anything_else_is_refused_before_anything_runs(ran) -> None:
    Path("thesis").mkdir()
    Path("thesis/chapter.tex").write_text("words")
    Path("thesis.tex").write_text("words")
    for out, message in (
        ("thesis", "--out thesis: holds chapter.tex, which is of no comparison and would be remo"),
        ("thesis.tex", "--out thesis.tex: is a file; name a folder"),
    ):
        result = compare("saft", "tecoa", "--out", out)
        assert result.exit_code == 1
        assert result.stderr.startswith(f"error: saft compare: {message}")
    assert ran == {}
    assert Path("thesis/chapter.tex").read_text() == "words"
    Path("earlier").mkdir()
    Path("earlier/table.md").write_text("of an earlier comparison")
    assert compare("saft", "tecoa", "--out", "earlier").exit_code == 0
    assert Path("earlier/table.md").read_text().count("| SAFT |")


def test_a_label_cannot_break_the_markdown_table(ran) -> None:
    assert compare("saft", 'saft:filter.template="a | {} <b>"').exit_code == 0
    rows = [line for line in TABLE.read_text().splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in rows}) == 1
    assert "a \\| {} &lt;b>" in "".join(rows)


def test_an_image_set_called_as_the_row_of_means_is_refused(ran) -> None:
    params = Path("params.yaml")
    yaml = YAML()
    values = yaml.load(params.read_text())
    values["evaluate"]["datasets"] = ["mean"]
    with params.open("w") as stream:
        yaml.dump(values, stream)
    result = compare("saft")
    assert "evaluate.datasets: 'mean' is the table's word for the mean of the sets" in result.stderr
    assert ran == {}


def test_the_caption_counts_the_seeds_that_runs_share(ran, monkeypatch) -> None:
    compare("saft", "tecoa", "--seeds", "0,1,2")
    assert "With 3 seeds the t-test has 2 degrees of freedom" in TABLE.read_text()
    read = experiments.read_run

    def but_one(one: Run, differing: list[str]) -> ComparedRun:
        if one.experiment == "compare-tecoa-seed-1":
            raise UserError("gone")
        return read(one, differing)

    monkeypatch.setattr(experiments, "read_run", but_one)
    compare("saft", "tecoa", "--seeds", "0,1,2")
    assert "With 2 seeds the t-test has 1 degrees of freedom" in TABLE.read_text()
