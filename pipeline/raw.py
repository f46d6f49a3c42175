"""Where raw inputs lie: data that is neither in git nor an output of a stage."""

import os
from pathlib import Path

ROOT_VARIABLE = "SAFT_DATA"


def locate(path: str) -> Path:
    """An absolute path as it is; a relative one under $SAFT_DATA, else under data/raw of the
    main repository ($DVC_ROOT), which a temporary experiment folder does not contain."""
    base = os.environ.get(ROOT_VARIABLE) or Path(os.environ.get("DVC_ROOT", ".")) / "data/raw"
    return Path(base) / path
