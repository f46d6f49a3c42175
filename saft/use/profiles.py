"""profiles/<name>.yaml: params files for other data, and which of them params.yaml is.

A profile is complete or extends another one (see `overlay.py`). params.yaml, the one file that DVC
reads, is always complete: choosing a profile writes it there with all that it extends.
"""

import difflib
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.common.atomic import replacing_file
from pipeline.common.errors import UserError, listed
from pipeline.common.params import PARAMS_FILE, parse
from pipeline.common.text_files import decode_text
from saft.use import commented_yaml, overlay

FOLDER = Path("profiles")
SHOWN = 3  # most problems of an invalid profile in one message


class Profile(NamedTuple):
    """A profile's file, and the complete params.yaml that it stands for."""

    file: Path
    content: bytes

    @property
    def values(self) -> dict[str, Any]:
        """What the file holds.

        Raises:
            UserError: it is not YAML.
        """
        return parse(decode_text(self.content, self.file), self.file)


def profiles(folder: Path = FOLDER) -> dict[str, str]:
    """Name -> first comment line, of every profile, sorted by name; hidden files, as editors and
    systems leave them, are none.

    Raises:
        UserError: there is no folder of profiles.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder} here; run it in the project's folder")
    return {file.stem: _about(file) for file in _files(folder)}


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*.yaml") if not file.name.startswith("."))


def find(name: str) -> Profile:
    """Profile `name`, which the strict schema accepts.

    Raises:
        UserError: no such profile (those there are are named), or it is not valid.
    """
    from saft.libyaml import unreadable_by_dvc
    from saft.schema import check_params

    known = profiles()
    if name not in known:
        raise UserError(f"{FOLDER} has no profile '{name}', only {', '.join(known) or 'none'}")
    profile = Profile(FOLDER / f"{name}.yaml", rendered(FOLDER / f"{name}.yaml"))
    problems = check_params(profile.values, profile.file)
    problems += unreadable_by_dvc(profile.content, profile.file)
    if problems:
        raise UserError(listed(problems, SHOWN, "; "))
    return profile


def rendered(file: Path) -> bytes:
    """The complete params.yaml that a profile stands for: its own bytes where it extends none.

    Raises:
        UserError: it, or what it extends, cannot be read, extends what is not there or itself, or
            has a key that what it extends does not have.
    """
    return _rendered(file, ())


def _rendered(file: Path, chain: tuple[str, ...]) -> bytes:
    content = _read(file)
    text = decode_text(content, file)
    base = overlay.base_name(text, file)
    if base is None:
        return content
    chain = (*chain, file.stem)
    below = _extended(file, base, chain)
    complete = _rendered(below, chain)
    keys = commented_yaml.parse(decode_text(complete, below), below)
    merged = overlay.merge(keys, commented_yaml.parse(text, file), file)
    line_end = "\r\n" if b"\r\n" in complete else "\n"
    return commented_yaml.to_text(merged).replace("\n", line_end).encode()


def _extended(file: Path, base: str, chain: tuple[str, ...]) -> Path:
    if base in chain:
        raise UserError(f"{file}: extends itself: {' -> '.join((*chain, base))}")
    known = profiles(file.parent)
    if base not in known:
        raise UserError(f"{file}: extends: no profile '{base}', only {', '.join(known)}")
    return file.parent / f"{base}.yaml"


def difference(profile: Profile) -> list[str]:
    """Unified diff from params.yaml to a profile, without line ends; [] where they are equal."""
    old = PARAMS_FILE.read_bytes() if PARAMS_FILE.exists() else b""
    before, after = (x.decode("utf-8", "replace").splitlines() for x in (old, profile.content))
    return list(
        difflib.unified_diff(before, after, str(PARAMS_FILE), str(profile.file), lineterm="")
    )


def check_replaceable(force: bool) -> None:
    """Refuse to lose edits: params.yaml must be as committed, or one of the profiles.

    Args:
        force: overwrite all the same; where git knows the file there is no need for it.

    Raises:
        UserError: params.yaml holds what is nowhere else, or `force` for a file that git knows.
    """
    file = PARAMS_FILE.resolve()  # behind a symlink the edits are in another file
    shown = file if PARAMS_FILE.is_symlink() else PARAMS_FILE
    tracked = _git(file, "ls-files", "--error-unmatch")
    if tracked and force:
        raise UserError(
            f"--force is for folders without git: `git commit {shown}` keeps your edits, "
            f"`git checkout {shown}` drops them"
        )
    if not file.exists() or force or _is_a_profile(file):
        return
    if not tracked:
        raise UserError(
            f"{shown} equals no profile, is not in git and would be overwritten: keep a copy, "
            "then --force"
        )
    # git's own comparison: the bytes may differ from the commit's by line ends alone
    if not _git(file, "diff", "--quiet", "--no-ext-diff", "HEAD"):
        raise UserError(
            f"{shown} has edits that are not committed: `git commit {shown}` keeps "
            f"them, `git checkout {shown}` drops them"
        )


def write(profile: Profile) -> None:
    """params.yaml, or the file that it is a link to, becomes the profile's content, as a whole."""
    with replacing_file(PARAMS_FILE.resolve()) as partial:
        partial.write_bytes(profile.content)


def _is_a_profile(file: Path) -> bool:
    content = file.read_bytes()
    return any(content == _rendered_if_sound(profile) for profile in _files(FOLDER))


def _rendered_if_sound(file: Path) -> bytes | None:
    try:
        return rendered(file)
    except UserError:  # of another profile than the one that is asked for
        return None


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None


def _about(file: Path) -> str:
    try:
        first = _read(file).decode("utf-8-sig", errors="replace").partition("\n")[0]
    except UserError as error:  # of one profile; the others can be used
        return str(error)
    return first.lstrip("# ").rstrip() if first.startswith("#") else ""


def _git(file: Path, *arguments: str) -> bool:
    """Whether a git command on `file` (absolute) succeeds; false where git is not installed."""
    command = ["git", "--literal-pathspecs", "-C", str(file.parent), *arguments, "--", file.name]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False
