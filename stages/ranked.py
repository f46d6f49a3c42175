"""A stage that several processes run together: it starts them, or is one of them.

However many there are, the user sees what one process would say: rank 0's words and, of all that
failed, one line.
"""

import os
import sys
from collections.abc import Callable
from functools import wraps

from pipeline.common.errors import UserError
from pipeline.common.failures import show_traceback
from pipeline.distributed import launch
from pipeline.distributed.collectives import Unreachable
from stages.runner import explain


def ranked(module: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Wrap the main function of `module` (e.g. "stages.finetune"), inside `stage`."""

    def decorate(main: Callable[[], None]) -> Callable[[], None]:
        @wraps(main)
        def run() -> None:
            count = launch.processes_to_start()
            if count > 1:
                launch.start(module, count)
            elif launch.launched():
                _rank_of_a_launcher(main, module.rsplit(".", 1)[-1])
            else:
                _rank_of_others(main)

        return run

    return decorate


def _rank_of_a_launcher(main: Callable[[], None], name: str) -> None:
    """Stage `name`: tell the launcher, which speaks for all, and leave.

    After an error at once: torch's threads wait for ranks that may be gone.
    """
    launch.prepare_rank()
    try:
        main()
    except Unreachable:  # the one that is gone has more to say
        os._exit(launch.LOST)
    except SystemExit as ended:
        os._exit(int(ended.code or 0))
    except BaseException as error:
        show_traceback(error)
        message, status = explain(error, name)
        launch.leave_message(launch.Failure(message, status))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    raise SystemExit(0)


def _rank_of_others(main: Callable[[], None]) -> None:
    """torchrun or srun started this process, or it is the only one."""
    rank = os.environ.get("RANK", "0")
    try:
        main()
    except UserError as error:
        if rank == "0" or isinstance(error, Unreachable):
            raise
        raise UserError(f"rank {rank} of {os.environ['WORLD_SIZE']}: {error}") from None
    if rank != "0":
        raise SystemExit(0)
