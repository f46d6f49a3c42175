"""The table of `saft cost`: one line for each stage whose cost is known."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from pipeline.common.errors import listed

HEAD = (
    "stage", "seconds", "images", "images/s", "peak memory, MiB", "energy, J", "TFLOP",
    "of the speed of matrix products", "device",
)  # fmt: skip
NUMBERS = 7  # columns, after the first, that are aligned right
LISTED = 4  # most names in a sentence


class Recorded(NamedTuple):
    """A stage by its name, and the fields of `meter.Cost` of its output; None: there is
    an output, but it was not measured here; computed: there is an output at all."""

    stage: str
    cost: dict[str, Any] | None
    computed: bool


def markdown(stages: Sequence[Recorded]) -> str:
    """The table, its sum, and a sentence on the stages that it lacks."""
    costs = [stage.cost for stage in stages if stage.cost is not None]
    lines = [sentence for sentence in (_unmeasured(stages), _not_computed(stages)) if sentence]
    if not costs:
        return "\n".join(lines) + "\n"
    table = [
        HEAD,
        ("---", *["---:"] * NUMBERS, "---"),
        *(_row(cost) for cost in costs),
        _sum(costs),
    ]
    return "\n".join([*(f"| {' | '.join(row)} |" for row in table), "", *lines]).rstrip() + "\n"


def _row(cost: dict[str, Any]) -> tuple[str, ...]:
    joules, flop, share = cost["energy_joules"], cost["flop"], cost["share"]
    speeds = " and ".join(
        f"{speed / 1e9:,.0f} GFLOP/s {name}"
        for name, speed in sorted(cost["matrix_flop_per_second"].items())
    )
    threads = "" if joules is not None else f", {cost['threads']} threads"
    processes = f", {cost['processes']} processes" if cost["processes"] > 1 else ""
    return (
        cost["stage"],
        f"{cost['seconds']:,.1f}",
        f"{cost['images']:,}",
        f"{cost['images_per_second']:,.1f}",
        f"{cost['peak_memory_bytes'] / 2**20:,.0f}",
        "–" if joules is None else f"{joules:,.0f}",
        "–" if flop is None else f"{flop / 1e12:,.1f}",
        "–" if share is None else f"{share:.0%} of {speeds}",
        f"{cost['device']}{threads}{processes}",
    )


def _sum(costs: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    joules = [cost["energy_joules"] for cost in costs]
    total = "–" if None in joules else f"{sum(joules):,.0f}"
    seconds = sum(cost["seconds"] for cost in costs)
    return ("sum", f"{seconds:,.1f}", "", "", "", total, "", "", "")


def _unmeasured(stages: Sequence[Recorded]) -> str:
    names = [stage.stage for stage in stages if stage.computed and stage.cost is None]
    if not names:
        return ""
    return (
        f"Not measured here, but from DVC's cache or from another machine: "
        f"{listed(names, LISTED)}; "
        "`dvc repro -f -s STAGE` computes one again (stages/dvc.yaml:finetune is that stage)."
    )


def _not_computed(stages: Sequence[Recorded]) -> str:
    names = [stage.stage for stage in stages if not stage.computed]
    return f"Not computed yet: {listed(names, LISTED)}." if names else ""
