"""Files and folders of the command line, and the names of what is made of them.

To DVC a path is a word: whatever lies there, the same word gives the outputs of before. So the name
of a path's entry tells what lies there, and other content is another entry:
"pictures" -> "pictures-3f9a2c1b".
"""

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from pipeline.common import names
from pipeline.common.errors import UserError

FINGERPRINT = re.compile(r"-[0-9a-f]{8}$")


def existing(text: str) -> Path | None:
    """The absolute path of a file or folder, ~ is the home folder; None: there is none.

    Raises:
        UserError: DVC would read a part of it as something else.
    """
    path = Path(os.path.expanduser(text)).absolute()
    if not text.strip() or not os.path.exists(path):  # False for what can be no path, too
        return None
    if "${" in str(path) or not str(path).isprintable():
        raise UserError(
            f"{str(path)!r}: a path with ${{ or an unprintable character cannot stand in "
            "params.yaml; rename it, or make a link to it"
        )
    return path


def plain_name(text: str, kind: str) -> str:
    """A name that DVC takes and that is no number: "my pictures" -> "my-pictures";
    ("2024", "images") -> "images-2024"."""
    name = re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-")[: names.LONGEST // 2]
    return name if name[:1].isalpha() else f"{kind}-{name}".strip("-")


def with_fingerprint(name: str, path: Path) -> str:
    """`name` and 8 digits of the sha256 over path, size and mtime in ns of every file at `path`;
    no file is read.

    Raises:
        UserError: a file cannot be looked at.
    """
    content = hashlib.sha256()
    try:
        for file in _files(path):
            about = file.stat()
            relative = file.relative_to(path.parent if path.is_file() else path).as_posix()
            content.update(repr((relative, about.st_size, about.st_mtime_ns)).encode())
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be looked at: {error.strerror}") from None
    return f"{name}-{content.hexdigest()[:8]}"


def without_fingerprint(name: str) -> str:
    """ "pictures-3f9a2c1b" -> "pictures"."""
    return FINGERPRINT.sub("", name)


def _files(path: Path) -> Iterator[Path]:
    """`path`, or all files below it in an order of their own; links are followed, broken ones left
    out."""
    if path.is_file():
        yield path
        return
    for parent, folders, files in os.walk(path, followlinks=True):
        folders.sort()
        yield from (file for name in sorted(files) if (file := Path(parent, name)).is_file())
