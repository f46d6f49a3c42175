"""The `saft` command, and four calls for Python: load, classify, attack, evaluate.

`import saft` loads nothing: the calls bring torch when they are first asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from saft.inference.api import attack, classify, evaluate, load

__all__ = ["attack", "classify", "evaluate", "load"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'saft' has no attribute '{name}'")
    from saft.inference import api

    return getattr(api, name)
