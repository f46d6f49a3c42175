"""The one rule for names that users choose: of image sets, models, text sets and whatever else is a
key of params.yaml of which the pipeline makes folders, stages and words of commands.

With it no name leads out of its folder ("../../docs"), ends a command ("x; rm -r data"), is a level
to DVC ("a.b") or is too long for a file system with what is added to it.
"""

import re
from collections.abc import Iterable
from typing import Any

from pipeline.common.errors import UserError, printable

PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
LONGEST = 100  # characters; file systems take 255 bytes, suffixes and locks included
SHOWN = 40  # most characters of a refused name in a message


def fault(name: Any) -> str:
    """Why `name` cannot be a name, with what to do; "" for one that can."""
    if not isinstance(name, str):
        return f"a name in quotes, '{name}'"
    if not PLAIN.fullmatch(name):
        return (
            f"'{_short(name)}' cannot be a name, which is made of a to z, A to Z, 0 to 9, - and _ "
            "and begins with a letter or digit; rename it"
        )
    if len(name) > LONGEST:
        return f"'{_short(name)}' has {len(name)} characters, a name at most {LONGEST}; shorten it"
    return ""


def check(names: Iterable[Any], key: str) -> None:
    """Raise UserError unless each of `names`, which stand under `key`, can be a name."""
    for name in names:
        if reason := fault(name):
            raise UserError(f"{key}: {reason}")


def _short(name: str) -> str:
    return printable(name if len(name) <= SHOWN else f"{name[:SHOWN]}...")
