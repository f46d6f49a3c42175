"""Where raw inputs are stored: data that is neither in git nor an output of a stage."""

import os
from pathlib import Path

from pipeline.common.bounds import PathText
from pipeline.common.params import PARAMS_FILE, Section, read_section

ROOT_VARIABLE = "SAFT_DATA"


class DataParams(Section):
    """Section `data` of params.yaml, where every key is explained."""

    root: PathText | None
    download: bool


def locate(path: str) -> Path:
    """An absolute path as it is (~ is the home folder); a relative one under `root`."""
    expanded = Path(path).expanduser()
    return expanded if expanded.is_absolute() else root() / expanded


def root() -> Path:
    """$SAFT_DATA, else `data.root` of params.yaml, else data/raw; relative ones are below the
    main repository ($DVC_ROOT), which a temporary experiment folder does not contain."""
    configured = read_section("data", DataParams).root if PARAMS_FILE.exists() else None
    base = os.environ.get(ROOT_VARIABLE) or configured or "data/raw"
    return Path(os.environ.get("DVC_ROOT", ".")) / Path(base).expanduser()


def downloads_allowed() -> bool:
    """`data.download` of params.yaml; false without one."""
    return PARAMS_FILE.exists() and read_section("data", DataParams).download
