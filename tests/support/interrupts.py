"""Interrupts as from a terminal, even where the tests themselves run in the background: a shell
without job control starts background processes with SIGINT ignored, and they pass that on."""

import signal


def hear_interrupts() -> None:
    """For `preexec_fn` of a process that is to be interrupted."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
