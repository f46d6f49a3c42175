"""What every stage entry shares: its time, one-line errors and a non-zero exit.

DVC takes exit status 0 as "the outputs are complete", so an interrupted stage must never
leave with 0.
"""

import atexit
import gc
import os
import sys
import time
from collections.abc import Callable
from functools import wraps
from typing import NoReturn, ParamSpec

from pipeline.common import failures, secrets
from pipeline.common.errors import UserError
from pipeline.common.interrupts import terminations_as_interrupts
from stages import STARTED

P = ParamSpec("P")
INTERRUPTED = 130
WHOLE = "nothing is half-written"  # an error may come after the last rename
# what makes a stage need less memory: the key that it grows with, or else what there is to do
SMALLER = {
    "pretrain": "the batch_size of its entry in section pretrain",
    "finetune": "finetune.batch_size",
    "evaluate": "evaluate.batch_size",
    "check": "evaluate.batch_size",
}
OTHERWISE = {
    "prepare": "it decodes an image on every core: fewer of them (taskset -c 0,1) need less",
    "describe": "lower describe.options.<backend>.max_model_len or choose a smaller model there",
    "report": "lower report.examples in params.yaml, or evaluate fewer images",
}
SMALLER_MODEL = "choose a smaller model in section models, or SAFT_DEVICE=cpu where a GPU is full"


def stage(name: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Wrap a stage's main function; `name` is what the messages start with."""

    def decorate(main: Callable[P, None]) -> Callable[P, None]:
        @wraps(main)
        def run(*args: P.args, **kwargs: P.kwargs) -> None:
            _imports_are_done()
            try:
                with terminations_as_interrupts():
                    main(*args, **kwargs)
            except (KeyboardInterrupt, Exception) as error:
                failures.show_traceback(error)
                _leave(name, *explain(error, name))
            print(f"[{label(name)}] {time.perf_counter() - STARTED:.1f} s", flush=True)

        return run

    return decorate


def _imports_are_done() -> None:
    """Collect garbage from here on, and leave what was imported alone, also when Python ends:
    looking through torch's modules once more takes three seconds."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
        atexit.register(gc.freeze)


def explain(error: BaseException, name: str) -> tuple[str, int]:
    """Line and exit status for an error of stage `name`."""
    if isinstance(error, KeyboardInterrupt):
        return f"interrupted; {WHOLE}", INTERRUPTED
    line = failures.explain(error, name)
    if failures.out_of_memory(error):
        line += f"; {_smaller(name)}"
    return line if isinstance(error, UserError) else f"{line}; {WHOLE}", 1


def _smaller(name: str) -> str:
    if name in SMALLER:
        half = f"lower {SMALLER[name]} in params.yaml: half of it takes about half"
        return f"{half} (`saft check` estimates it)"
    return OTHERWISE.get(name, SMALLER_MODEL)


def label(name: str) -> str:
    """The stage as DVC calls it (with its matrix item), or the plain name by hand."""
    return os.environ.get("DVC_STAGE", name)


def _leave(name: str, message: str, status: int) -> NoReturn:
    print(f"\n[{label(name)}] error: {secrets.shown(message)}", file=sys.stderr, flush=True)
    raise SystemExit(status)
