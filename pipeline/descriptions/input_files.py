"""Files that a backend reads: below its folder in data/inputs/, all that DVC watches of them."""

import hashlib
from pathlib import Path

from pydantic import AfterValidator


def below(folder: Path) -> AfterValidator:
    """For the type of a parameter that names a file: one outside `folder` is refused."""

    def check(name: str) -> str:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"must be below {folder}, of which DVC keeps track")
        return name

    return AfterValidator(check)


def digest(path: Path) -> str:
    """The SHA-256 of a file, for provenance.json."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
