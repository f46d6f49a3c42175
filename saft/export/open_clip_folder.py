"""The model's own files, byte by byte: what open_clip loads."""

import shutil
from pathlib import Path

from pipeline.clip.folders import MODEL
from pipeline.clip.model import CONFIG_FILE, WEIGHTS_FILE, load
from saft.export.probe import Probe, Reloaded, features


def write(folder: Path) -> None:
    """Copy config and weights."""
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        shutil.copyfile(MODEL / name, folder / name)


def reload(folder: Path, probe: Probe) -> Reloaded:
    """Features of the copied files."""
    return Reloaded(features(load(folder), probe), "open_clip")
