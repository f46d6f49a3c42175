"""SAFT_LOGGERS: rows that can be watched, and loggers that fail."""

import csv
import os
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
    for name in loggers.PATIENCE:  # as it was, after the test
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def run(names: list[str], kept: int = 0) -> None:
    """A training whose first `kept` rows are an interrupted run's."""
    with Loggers(names, RECIPE, batch_size=8) as live:
        live.start(ROWS[:kept])
        live.log(ROWS[kept:])


def interrupted(names: list[str]) -> None:
    """A training that somebody stops after its first rows."""
    with Loggers(names, RECIPE, batch_size=8) as live:
        live.log(ROWS[:2])
        raise KeyboardInterrupt


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


def fake(
    monkeypatch: pytest.MonkeyPatch, name: str, mode: str = "offline", key: bool = False
) -> list[tuple[str, object]]:
    """A package that notes what is called with what, under the names that loggers use.

    Args:
        mode, key: what wandb's settings say, and whether it knows a key.
    """
    calls: list[tuple[str, object]] = []

    def note(called: str):
        return lambda *values, **named: calls.append((called, values or named)) or package

    def login(prompt: bool, verify: bool) -> bool:
        assert not prompt
        return key

    package = SimpleNamespace(
        **{
            called: note(called)
            for called in (
                "init", "log", "finish", "set_experiment", "start_run", "log_params", "log_metrics",
                "end_run",
            )
        },
        setup=lambda: SimpleNamespace(settings=SimpleNamespace(mode=mode)),
        login=login,
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


@pytest.mark.parametrize(
    ("name", "finished", "failed"),
    [
        ("wandb", ("finish", {"exit_code": 0}), ("finish", {"exit_code": 1})),
        ("mlflow", ("end_run", ("FINISHED",)), ("end_run", ("FAILED",))),
    ],
)
def test_a_training_that_fails_is_a_failed_run(monkeypatch, name, finished, failed) -> None:
    calls = fake(monkeypatch, name)
    run([name])
    assert calls[-1] == finished
    with pytest.raises(KeyboardInterrupt):
        interrupted([name])
    assert calls[-1] == failed
    assert [called for called, _ in calls].count(finished[0]) == 2


@pytest.mark.parametrize("called", ["log_params", "log_metrics"])
def test_a_run_of_mlflow_that_is_left_out_is_a_failed_one(monkeypatch, capsys, called) -> None:
    calls = fake(monkeypatch, "mlflow")

    def gone(*_, **__):
        raise ConnectionError("no server")

    setattr(sys.modules["mlflow"], called, gone)
    run(["mlflow"])
    assert capsys.readouterr().err == "SAFT_LOGGERS: mlflow is left out: no server\n"
    assert [call for call in calls if call[0] == "end_run"] == [("end_run", ("FAILED",))]


@pytest.mark.parametrize(("mode", "key"), [("online", True), ("offline", False)])
def test_wandb_starts_with_a_key_or_offline(monkeypatch, mode, key) -> None:
    calls = fake(monkeypatch, "wandb", mode, key)
    run(["wandb"])
    assert calls[0] == ("init", {"project": "saft", "config": RECIPE})


def test_wandb_without_a_key_asks_nobody(monkeypatch, capsys) -> None:
    calls = fake(monkeypatch, "wandb", mode="online")
    run(["wandb"])
    said = "SAFT_LOGGERS: wandb is left out: no key; export WANDB_API_KEY or WANDB_MODE=offline\n"
    assert capsys.readouterr().err == said
    assert calls == []


def test_mlflow_waits_for_no_server_that_is_gone_unless_told_to(monkeypatch) -> None:
    fake(monkeypatch, "mlflow")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    run(["mlflow"])
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "1"
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "60"


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
    closed: list[bool] = []

    class Broken:
        def __init__(self, _: object) -> None:
            pass

        def log(self, *_: object) -> None:
            self.fail("log")

        def close(self, failed: bool) -> None:
            closed.append(failed)
            self.fail("close")

        def fail(self, where: str) -> None:
            if where == fails:
                raise ConnectionError("no server at this address\nsecond line")

    monkeypatch.setitem(KINDS, "wandb", Broken)
    run(["wandb", "dvclive"])
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert error[0].startswith("SAFT_LOGGERS: wandb is left out: no server at this address")
    assert closed == [fails == "log"]
    assert Path("dvclive/plots/metrics/loss.tsv").exists()


def test_names_are_checked(monkeypatch) -> None:
    monkeypatch.setenv(loggers.VARIABLE, " dvclive, tensorboard,dvclive,")
    assert requested() == ["dvclive", "tensorboard"]
    monkeypatch.setenv(loggers.VARIABLE, "tensorbord")
    with pytest.raises(UserError, match="SAFT_LOGGERS: 'tensorbord' is not one of dvclive, tens"):
        requested()
    monkeypatch.delenv(loggers.VARIABLE)
    assert requested() == []
