"""Text files that people write, read as editors of every system save them.

Notepad and Excel begin a file with a byte-order mark or save it as UTF-16, macOS writes accented
letters as two characters (NFD), and names pasted from a page hold no-break spaces. None of it can
be seen, so that none of it may decide what a name is.
"""

import unicodedata
from collections.abc import Collection, Iterable
from pathlib import Path

from pipeline.common.errors import UserError

LFS = b"version https://git-lfs"  # how a file begins that Git LFS has not fetched
_NO_WIDTH = dict.fromkeys(map(ord, "\ufeff\u200b\u2060\u00ad"))  # marks, soft hyphens
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def read_text(path: Path) -> str:
    r"""The text of a UTF-8 file, without a byte-order mark, with "\n" line ends.

    Raises:
        UserError: it is UTF-16 or no text, a pointer of Git LFS, or cannot be read. A file that is
            not there stays a FileNotFoundError, of which callers know what to say.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    check_fetched(content, path)
    return decode_text(content, path)


def decode_text(content: bytes, path: Path) -> str:
    """`read_text` of a content that has been read from `path`."""
    if content.startswith(_UTF_16) or _is_bare_utf_16(content):
        raise UserError(f"{path}: is UTF-16; save it as UTF-8 (in Excel: CSV UTF-8)")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text; save it as UTF-8") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def check_fetched(content: bytes, path: Path, what: str = "file") -> None:
    """Raise UserError if `content`, the beginning of a file or all of it, is a Git LFS pointer, and
    not the `what` that it stands for."""
    if content.startswith(LFS):
        raise UserError(
            f"{path}: a pointer of Git LFS, not the {what}; run `git lfs pull` in its repository"
        )


def one_form(name: str) -> str:
    r"""`name` as it is compared: NFC, and every run of white space, no-break spaces too, one space.

    For example one_form("cafe\u0301\u00a0 table ") is "café table" with one character é.
    """
    return " ".join(unicodedata.normalize("NFC", name).translate(_NO_WIDTH).split())


def spelled_as(names: Iterable[str], known: Collection[str]) -> list[str]:
    """`names`, each as `known` has it: itself, or the one that differs only in form (`one_form`);
    a name that `known` has not stays as it is."""
    names = list(names)
    if all(name in known for name in names):
        return names
    by_form = {one_form(name): name for name in known}
    by_form |= {name: name for name in known}
    return [by_form.get(name, by_form.get(one_form(name), name)) for name in names]


def _is_bare_utf_16(content: bytes) -> bool:
    """Whether it looks like English in UTF-16 without a mark: every other byte alone is zero."""
    halves = content[0:64:2], content[1:64:2]
    return len(content) >= 4 and any(
        not any(zeros) and all(letters) for zeros, letters in (halves, halves[::-1])
    )
