"""The stages that `dvc repro` would run, with the time that each will take."""

from collections import defaultdict

from pipeline.clip.precision import Precision, check_precision
from pipeline.common.errors import UserError
from pipeline.images.streaming import workers
from saft.check.part import Part, duration
from saft.check.plan import Plan
from saft.check.sets import SetState
from saft.check.times import EFFICIENCY, PIXEL_SECONDS, speeds, stage_flop


def prepare_seconds(state: SetState) -> float | None:
    """Seconds to decode a set once; None where its images are not known."""
    if not state.images or not state.size:
        return None
    return state.images * state.size**2 * PIXEL_SECONDS / workers()


def cost(plan: Plan, stage: str, speed: float) -> dict[str, float | None]:
    """`seconds` and `flop` of a stage; None where nothing is known.

    Args:
        speed: FLOPs per second that the device reaches.
    """
    name, _, item = stage.partition("@")
    if name == "prepare":
        state = plan.sets.get(item)
        return {"seconds": prepare_seconds(state) if state else None, "flop": None}
    try:
        flop = stage_flop(plan, stage)
    except UserError:  # the model's config is not known
        flop = None
    return {"seconds": None if flop is None else flop / speed, "flop": flop}


def stages(plan: Plan) -> Part:
    """Part 8: names, and times by kind of stage."""
    part, runs = Part("stages"), plan.runs
    if runs.stages is None:
        part.problems.append(f"dvc cannot tell what to run: {runs.problem}")
        return part
    if not runs.stages:
        part.lines.append("everything is up to date: dvc repro would run nothing")
        return part
    part.problems += _not_on_this_device(plan)
    measured, shares = speeds(plan.device), EFFICIENCY[plan.device.type]
    reached = {name: shares[name] * speed for name, speed in measured.items()}
    kinds: dict[str, list[tuple[str, float | None]]] = defaultdict(list)
    for stage in runs.stages:
        speed = reached.get(precision_of(plan, stage), reached["float32"])
        part.values[stage] = cost(plan, stage, speed)
        kinds[stage.partition("@")[0]].append((stage, part.values[stage]["seconds"]))
    part.lines += [_line(kind, times) for kind, times in kinds.items()]
    part.lines += _by_precision(part, reached)
    total, flop = (sum(v[key] or 0 for v in part.values.values()) for key in ("seconds", "flop"))
    products = ", ".join(
        f"{shares[name]:.0%} of {speed / 1e9:,.0f} in {name}" for name, speed in measured.items()
    )
    part.lines.append(
        f"about {duration(total)} in all, unless DVC's run cache has the outputs: estimates, right "
        f"to a factor of two, from {flop / 1e15:,.3g} PFLOP at an assumed share of the matrix "
        f"products measured on {plan.device} (GFLOP/s: {products}); evaluation "
        "and checks as if every image withstood every step (those fooled stop early)"
    )
    return part


def precision_of(plan: Plan, stage: str) -> Precision:
    """What the matrix products of a stage are computed in."""
    name = stage.partition("@")[0]
    if name == "finetune" and name in plan.sound:
        return plan.recipe.precision
    if name in ("evaluate", "check") and "evaluate" in plan.sound:
        return plan.evaluate.precision
    return "float32"


def _not_on_this_device(plan: Plan) -> list[str]:
    problems = []
    for section in ("finetune", "evaluate") if plan.trains else ("evaluate",):
        try:
            check_precision(precision_of(plan, section), f"{section}.precision", plan.device)
        except UserError as error:
            problems.append(str(error))
    return problems


def _by_precision(part: Part, reached: dict[Precision, float]) -> list[str]:
    """A line on the training in every precision of the device, where there is a choice."""
    flop = part.values.get("finetune", {}).get("flop")
    if not flop or len(reached) < 2:
        return []
    times = {name: flop / speed for name, speed in reached.items()}
    part.values["finetune"]["seconds_by_precision"] = times
    listed = ", ".join(f"{name} {duration(seconds)}" for name, seconds in times.items())
    return [f"finetune by finetune.precision: {listed}"]


def _line(kind: str, times: list[tuple[str, float | None]]) -> str:
    known = [(seconds, stage) for stage, seconds in times if seconds is not None]
    label = times[0][0] if len(times) == 1 else f"{kind} ({len(times)} stages)"
    parts = [duration(sum(seconds for seconds, _ in known))] if known else []
    if len(known) < len(times):
        count = f"{len(times) - len(known)} " if known else ""
        parts.append(f"{count}not estimated")
    if len(times) > 1 and known:
        longest = max(known)
        parts.append(f"longest {longest[1]} {duration(longest[0])}")
    return f"{label:32}{', '.join(parts)}"
