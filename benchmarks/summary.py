"""From timings to the numbers that are printed and written."""

import statistics
from collections.abc import Mapping
from typing import Any

from benchmarks.measure import STEPS, VARIANTS, Timing

Key = tuple[str, str]  # step, variant
RELEASED = ("released", "released_amp")


def summarise(
    timings: Mapping[Key, list[Timing]],
    flop: Mapping[Key, int],
    images: int,
    ceilings: Mapping[str, float],
) -> dict[str, Any]:
    """Per step: the results of every variant, and the ratios of both released ones to the pipeline.

    Args:
        images: per step. ceilings: precision -> TFLOP/s of the matrix product.
    """
    steps: dict[str, Any] = {}
    for step in STEPS:
        variants = {
            name: _measured(timings[step, name], flop[step, name], images, ceilings)
            for name in VARIANTS
        }
        ratios = {name: _ratio(variants[name], variants["pipeline"]) for name in RELEASED}
        steps[step] = variants | {"ratio": ratios}
    return steps


def as_text(summary: dict[str, Any]) -> str:
    """The whole result for a terminal."""
    setting, ceilings = summary["setting"], summary["ceiling_tflop_per_second"]
    weights = setting["pretrained"] or "random weights"
    speeds = ", ".join(f"{k} {v:.3g}" for k, v in ceilings.items())
    shares = "".join(f"{'of ' + name:>12}" for name in ceilings)
    lines = [
        ", ".join(f"{key} {value}" for key, value in summary["environment"].items()),
        f"{setting['model']} ({weights}), {setting['dtype']}, batch {setting['batch_size']}, "
        f"{setting['classes']} classes x {setting['captions']} captions, "
        f"{setting['attack_steps']} attack steps at {setting['epsilon_255']}/255, "
        f"{setting['repeats']} repeats",
        f"released_amp: {setting['released_amp']}",
        _agreement(summary["agreement"]),
        f"ceilings, TFLOP/s of one large matrix product: {speeds}",
        "",
        f"{'':28}{'s median':>10}{'min':>10}{'max':>10}{'images/s':>10}{'TFLOP':>10}"
        f"{'TFLOP/s':>10}{shares}{'peak GiB':>10}",
    ]
    for step, variants in summary["steps"].items():
        lines += [_row(step, name, variants[name]) for name in VARIANTS]
        lines += [_ratio_row(step, name, variants["ratio"][name]) for name in RELEASED]
    return "\n".join(lines)


def _measured(
    timings: list[Timing], flop: int, images: int, ceilings: Mapping[str, float]
) -> dict[str, Any]:
    seconds = [timing.seconds for timing in timings]
    median = statistics.median(seconds)
    peaks = [timing.memory for timing in timings if timing.memory is not None]
    rate = flop / median / 1e12
    return {
        "seconds": {"median": median, "min": min(seconds), "max": max(seconds)},
        "images_per_second": images / median,
        "flop": flop,
        "tflop_per_second": rate,
        "share_of_ceiling": {name: rate / ceiling for name, ceiling in ceilings.items()},
        "peak_memory_bytes": max(peaks) if peaks else None,
    }


def _ratio(released: dict[str, Any], pipeline: dict[str, Any]) -> dict[str, float | None]:
    known = released["peak_memory_bytes"] and pipeline["peak_memory_bytes"]
    return {
        "seconds": released["seconds"]["median"] / pipeline["seconds"]["median"],
        "flop": released["flop"] / pipeline["flop"],
        "peak_memory": released["peak_memory_bytes"] / pipeline["peak_memory_bytes"]
        if known
        else None,
    }


def _agreement(agreement: dict[str, Any]) -> str:
    differences = ", ".join(
        f"{key} {value:.1e} ({agreement['tolerance'][key]:.0e})"
        for key, value in agreement["difference"].items()
    )
    verdict = "NOT the same result" if agreement["violations"] else "same result"
    return f"{verdict}, differences of released and pipeline (tolerances): {differences}"


def _row(step: str, name: str, measured: dict[str, Any]) -> str:
    seconds = measured["seconds"]
    peak = measured["peak_memory_bytes"]
    shares = "".join(f"{share:12.1%}" for share in measured["share_of_ceiling"].values())
    return (
        f"{step + ', ' + name:28}{seconds['median']:10.4g}{seconds['min']:10.4g}"
        f"{seconds['max']:10.4g}{measured['images_per_second']:10.4g}"
        f"{measured['flop'] / 1e12:10.3g}{measured['tflop_per_second']:10.3g}{shares}"
        + (f"{peak / 2**30:10.3g}" if peak else f"{'unknown':>10}")
    )


def _ratio_row(step: str, name: str, ratio: dict[str, float | None]) -> str:
    told = [f"{key.replace('_', ' ')} {value:.3g}" for key, value in ratio.items() if value]
    return f"{step}, {name} / pipeline: " + ", ".join(told)
