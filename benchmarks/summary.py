"""From timings to the numbers that are printed and written."""

import statistics
from typing import Any

from benchmarks.measure import STEPS, VARIANTS, Timing

Key = tuple[str, str]  # step, variant


def summarise(
    timings: dict[Key, list[Timing]], flop: dict[Key, int], images: int, ceiling: float
) -> dict[str, Any]:
    """Per step: one entry per variant, and the ratios released / pipeline.

    Args:
        images: per step. ceiling: TFLOP/s of the matrix product.
    """
    found: dict[str, Any] = {}
    for step in STEPS:
        entries = {
            name: _entry(timings[step, name], flop[step, name], images, ceiling)
            for name in VARIANTS
        }
        found[step] = entries | {"ratio": _ratio(entries["released"], entries["pipeline"])}
    return found


def as_text(found: dict[str, Any]) -> str:
    """The whole result for a terminal."""
    setting, ceiling = found["setting"], found["ceiling"]
    weights = setting["pretrained"] or "random weights"
    agreed = found["agreement"]
    lines = [
        ", ".join(f"{key} {value}" for key, value in found["environment"].items()),
        f"{setting['model']} ({weights}), {setting['dtype']}, batch {setting['batch_size']}, "
        f"{setting['classes']} classes x {setting['captions']} captions, "
        f"{setting['attack_steps']} attack steps at {setting['epsilon_255']}/255, "
        f"{setting['repeats']} repeats",
        "same result, differences (tolerances): "
        + ", ".join(
            f"{k} {v:.1e} ({agreed['tolerance'][k]:.0e})" for k, v in agreed["difference"].items()
        ),
        f"ceiling: {ceiling['tflop_per_second']:.3g} TFLOP/s, float32 product of "
        f"{ceiling['product_size']} x {ceiling['product_size']} matrices",
        "",
        f"{'':24}{'s median':>10}{'min':>10}{'max':>10}{'images/s':>10}{'TFLOP':>10}"
        f"{'TFLOP/s':>10}{'of ceiling':>12}{'peak GiB':>10}",
    ]
    for step, entries in found["steps"].items():
        lines += [_row(step, name, entries[name]) for name in VARIANTS]
        lines.append(_ratio_row(step, entries["ratio"]))
    return "\n".join(lines)


def _entry(timings: list[Timing], flop: int, images: int, ceiling: float) -> dict[str, Any]:
    seconds = [timing.seconds for timing in timings]
    median = statistics.median(seconds)
    peaks = [timing.memory for timing in timings if timing.memory is not None]
    return {
        "seconds": {"median": median, "min": min(seconds), "max": max(seconds)},
        "images_per_second": images / median,
        "flop": flop,
        "tflop_per_second": flop / median / 1e12,
        "share_of_ceiling": flop / median / 1e12 / ceiling,
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


def _row(step: str, name: str, entry: dict[str, Any]) -> str:
    seconds = entry["seconds"]
    peak = entry["peak_memory_bytes"]
    return (
        f"{step + ', ' + name:24}{seconds['median']:10.4g}{seconds['min']:10.4g}"
        f"{seconds['max']:10.4g}{entry['images_per_second']:10.4g}{entry['flop'] / 1e12:10.3g}"
        f"{entry['tflop_per_second']:10.3g}{entry['share_of_ceiling']:12.1%}"
        + (f"{peak / 2**30:10.3g}" if peak else f"{'unknown':>10}")
    )


def _ratio_row(step: str, ratio: dict[str, float | None]) -> str:
    told = [f"{key.replace('_', ' ')} {value:.3g}" for key, value in ratio.items() if value]
    return f"{step}, released / pipeline: " + ", ".join(told)
