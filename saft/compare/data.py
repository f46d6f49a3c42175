"""The table for programs: CSV, one line per number, and JSON, with the tests."""

from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.results.statistics import Share, Spread
from saft.compare.arms import Arm, Failed
from saft.compare.table import TableRow, table_rows, value
from saft.compare.texts import FAILED, caption

HEAD = [
    "dataset", "model", "measure", "accuracy", "low", "high", "correct", "images",
    "seconds_per_epoch", "peak_memory_bytes", "seed", "seeds", "sd", "ece", "ece_sd", "status",
]  # fmt: skip


def csv_rows(arms: Sequence[Arm]) -> Iterator[list[Any]]:
    """Header and one row per image set, model, seed and measure; empty where there is no value.

    A row with `sd` is a mean over that many `seeds`; one of status failed has no measure. ece: the
    expected calibration error of the measure, see `saft.compare.calibration`.
    """
    yield HEAD
    for row in table_rows(arms):
        for values in _values(row):
            yield [values.get(name, "") for name in HEAD]


def _values(row: TableRow) -> Iterator[dict[str, Any]]:
    head: dict[str, Any] = {"dataset": row.dataset, "model": row.label}
    head |= {} if row.seed is None else {"seed": row.seed}
    if not row.shares:
        yield head | {"status": FAILED}
    for key, share in row.shares.items():
        values = head | (row.cost or {}) | {"measure": key, "accuracy": round(value(share), 4)}
        if isinstance(share, Share):
            values |= {"low": round(share.low, 4), "high": round(share.high, 4)}
            values |= {"correct": share.correct, "images": share.images}
        if isinstance(share, Spread):
            values |= {"seeds": share.runs, "sd": "" if share.sd is None else round(share.sd, 4)}
        if key in row.ece:
            values |= _ece(row.ece[key])
        yield values | {"status": "ok"}


def _ece(error: Spread | float) -> dict[str, Any]:
    sd = error.sd if isinstance(error, Spread) else None
    return {"ece": round(value(error), 4)} | ({} if sd is None else {"ece_sd": round(sd, 4)})


def numbers(arms: Sequence[Arm], front: Sequence[str]) -> dict[str, Any]:
    """All that the page shows, at full precision: shares in 0..1, p-values, experiments.

    Args:
        front: the labels on the Pareto front.
    """
    return {
        "caption": caption(arms),
        "reference": arms[0].label,
        "experiments": experiments(arms),
        "rows": [_row(row) for row in table_rows(arms)],
        "pareto_front": list(front),
    }


def experiments(arms: Sequence[Arm]) -> list[dict[str, Any]]:
    """Every run by the name of its DVC experiment, and how it ended."""
    return [_experiment(arm, seed) for arm in arms for seed in arm.runs]


def _experiment(arm: Arm, seed: int | None) -> dict[str, Any]:
    run = arm.runs[seed]
    reason = {"reason": run.reason} if isinstance(run, Failed) else {}
    status = FAILED if reason else "ok"
    return {"name": run.experiment, "model": arm.label, "seed": seed, "status": status, **reason}


def _row(row: TableRow) -> dict[str, Any]:
    shares, errors = (
        {key: {"value": of} if isinstance(of, float) else of._asdict() for key, of in part.items()}
        for part in (row.shares, row.ece)
    )
    return {
        "dataset": row.dataset,
        "model": row.label,
        "seed": row.seed,
        "status": "ok" if shares else FAILED,
        "measures": shares,
        "ece": errors,
        "best": sorted(row.best),
        "against_reference": row.change._asdict() if row.change else None,
        "cost": row.cost,
    }
