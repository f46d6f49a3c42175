"""SAFT_LOGGERS: rows that can be watched, and loggers that fail."""

import csv
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.common.errors import UserError
from pipeline.training import loggers
from pipeline.training.loggers import KINDS, Loggers, requested

ROWS = [{"step": step, "loss": 1.0 / (step + 1), "gradient_norm": 2.0} for step in range(4)]
RECIPE = {"method": "saft", "attack": {"steps": 2}, "lora": None}


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(names: list[str], kept: int = 0) -> None:
    """A training whose first `kept` rows are an interrupted run's."""
    with Loggers(names, RECIPE, batch_size=8) as live:
        live.start(ROWS[:kept])
        live.log(ROWS[kept:])


def test_dvclive_writes_a_table_for_each_curve() -> None:
    run(["dvclive"])
    with Path("dvclive/plots/metrics/loss.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [int(row["step"]) for row in rows] == [0, 1, 2, 3]
    assert [float(row["loss"]) for row in rows] == [row["loss"] for row in ROWS]
    assert Path("dvclive/plots/metrics/images_per_second.tsv").exists()
    assert not Path("dvclive/dvc.yaml").exists()


@pytest.mark.parametrize("kept", [0, 2])
def test_the_curve_of_a_resumed_run_has_every_step_once(kept: int) -> None:
    """The interrupted run had got as far as step 2, beyond its last resume state."""
    with Loggers(["dvclive", "tensorboard"], RECIPE, batch_size=8) as interrupted:
        interrupted.log(ROWS[:3])
    run(["dvclive", "tensorboard"], kept)
    with Path("dvclive/plots/metrics/loss.tsv").open(newline="") as file:
        assert [int(row["step"]) for row in csv.DictReader(file, delimiter="\t")] == [0, 1, 2, 3]
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator("runs/finetune").Reload()
    assert [event.step for event in events.Scalars("loss")] == [0, 1, 2, 3]
    assert events.Scalars("gradient_norm")[0].value == 2.0


def fake(monkeypatch: pytest.MonkeyPatch, name: str) -> list[tuple[str, object]]:
    """A package that notes what is called with what, under the names that loggers use."""
    calls: list[tuple[str, object]] = []

    def note(called: str):
        return lambda *values, **named: calls.append((called, values or named)) or package

    package = SimpleNamespace(
        **{
            called: note(called)
            for called in (
                "init", "log", "finish", "set_experiment", "start_run", "log_params", "log_metrics",
                "end_run",
            )
        }
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, name, package)
    return calls


@pytest.mark.parametrize(
    ("name", "first", "row", "last"),
    [
        ("wandb", "init", "log", "finish"),
        ("mlflow", "set_experiment", "log_metrics", "end_run"),
    ],
)
def test_the_others_get_recipe_and_rows(monkeypatch, name, first, row, last) -> None:
    calls = fake(monkeypatch, name)
    run([name])
    assert calls[0][0] == first
    assert calls[-1][0] == last
    assert [called for called, _ in calls].count(row) == len(ROWS)
    values = next(values for called, values in calls if called == row)
    assert values[0]["loss"] == 1.0


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_logger_without_its_package_is_one_line(monkeypatch, capsys, name) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    run([name, "dvclive"])
    error = capsys.readouterr().err
    assert f"SAFT_LOGGERS: {name} is left out: " in error
    assert len(error.strip().splitlines()) == 1
    assert Path("dvclive/plots/metrics/loss.tsv").exists()


@pytest.mark.parametrize("fails", ["log", "close"])
def test_a_logger_that_fails_is_told_of_once_and_stops_nothing(monkeypatch, capsys, fails) -> None:
    class Broken:
        def __init__(self, _: object) -> None:
            pass

        def log(self, *_: object) -> None:
            self.fail("log")

        def close(self) -> None:
            self.fail("close")

        def fail(self, where: str) -> None:
            if where == fails:
                raise ConnectionError("no server at this address\nsecond line")

    monkeypatch.setitem(KINDS, "wandb", Broken)
    run(["wandb", "dvclive"])
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert error[0].startswith("SAFT_LOGGERS: wandb is left out: no server at this address")
    assert Path("dvclive/plots/metrics/loss.tsv").exists()


def test_names_are_checked(monkeypatch) -> None:
    monkeypatch.setenv(loggers.VARIABLE, " dvclive, tensorboard,dvclive,")
    assert requested() == ["dvclive", "tensorboard"]
    monkeypatch.setenv(loggers.VARIABLE, "tensorbord")
    with pytest.raises(UserError, match="SAFT_LOGGERS: 'tensorbord' is not one of dvclive, tens"):
        requested()
    monkeypatch.delenv(loggers.VARIABLE)
    assert requested() == []
