"""profiles/<name>.yaml: complete params files for other data, and which of them params.yaml is.

params.yaml stays the one file that DVC reads: choosing a profile copies it there, byte for byte.
"""

import difflib
import subprocess
from pathlib import Path

from pipeline.common.atomic import replacing_file
from pipeline.common.errors import UserError, listed
from pipeline.common.params import PARAMS_FILE, read_params

FOLDER = Path("profiles")
SHOWN = 3  # most problems of an invalid profile in one message


def profiles() -> dict[str, str]:
    """Name -> first comment line, of every profile, sorted by name."""
    return {file.stem: _about(file) for file in sorted(FOLDER.glob("*.yaml"))}


def find(name: str) -> Path:
    """The file of profile `name`, which the strict schema accepts.

    Raises:
        UserError: no such profile (those there are are named), or it is not valid.
    """
    from saft.schema import check_params  # with torch: only here, so that --help is quick

    known = profiles()
    if name not in known:
        raise UserError(f"{FOLDER} has no profile '{name}', only {', '.join(known) or 'none'}")
    file = FOLDER / f"{name}.yaml"
    problems = check_params(read_params(file), file)
    if problems:
        raise UserError(listed(problems, SHOWN, "; "))
    return file


def difference(file: Path) -> list[str]:
    """Unified diff from params.yaml to `file`, without line ends; [] where they are equal."""
    old = PARAMS_FILE.read_bytes() if PARAMS_FILE.exists() else b""
    before, after = (x.decode("utf-8", "replace").splitlines() for x in (old, file.read_bytes()))
    return list(difflib.unified_diff(before, after, str(PARAMS_FILE), str(file), lineterm=""))


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


def copy(file: Path) -> None:
    """params.yaml, or the file that it is a link to, becomes the bytes of `file`, as a whole."""
    with replacing_file(PARAMS_FILE.resolve()) as partial:
        partial.write_bytes(file.read_bytes())


def _is_a_profile(file: Path) -> bool:
    content = file.read_bytes()
    return any(content == profile.read_bytes() for profile in FOLDER.glob("*.yaml"))


def _about(file: Path) -> str:
    first = file.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
    return first.lstrip("# ").rstrip() if first.startswith("#") else ""


def _git(file: Path, *arguments: str) -> bool:
    """Whether a git command on `file` (absolute) succeeds; false where git is not installed."""
    command = ["git", "--literal-pathspecs", "-C", str(file.parent), *arguments, "--", file.name]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False
