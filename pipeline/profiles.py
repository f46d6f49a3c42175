"""profiles/<name>.yaml: complete params files for other data, and which of them params.yaml is.

params.yaml stays the one file that DVC reads: choosing a profile copies it there, byte for byte.
"""

import difflib
import subprocess
from pathlib import Path

from pipeline.atomic import replacing_file
from pipeline.errors import UserError
from pipeline.params import PARAMS_FILE, read_params
from pipeline.schema import check_params

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
    known = profiles()
    if name not in known:
        demo = f"; the demo is {PARAMS_FILE} as committed: git checkout {PARAMS_FILE}"
        raise UserError(
            f"{FOLDER} has no profile '{name}', only {', '.join(known) or 'none at all'}{demo}"
        )
    file = FOLDER / f"{name}.yaml"
    problems = check_params(read_params(file), file)
    if problems:
        more = f" and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise UserError("; ".join(problems[:SHOWN]) + more)
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
        UserError: params.yaml holds what is nowhere else, or `force` in a git checkout.
    """
    in_git = _git("rev-parse", "--is-inside-work-tree") is not None
    if in_git and force:
        raise UserError(
            f"--force is for folders without git: `git commit {PARAMS_FILE}` keeps your edits, "
            f"`git checkout {PARAMS_FILE}` drops them"
        )
    if not PARAMS_FILE.exists() or force:
        return
    content = PARAMS_FILE.read_bytes()
    if any(content == file.read_bytes() for file in FOLDER.glob("*.yaml")):
        return
    if not in_git:
        raise UserError(
            f"{PARAMS_FILE} equals no profile and would be overwritten: keep a copy, then --force"
        )
    if content != _git("show", f"HEAD:./{PARAMS_FILE}"):
        raise UserError(
            f"{PARAMS_FILE} has edits that are not committed: `git commit {PARAMS_FILE}` keeps "
            f"them, `git checkout {PARAMS_FILE}` drops them"
        )


def copy(file: Path) -> None:
    """params.yaml becomes the bytes of `file`, as a whole."""
    with replacing_file(PARAMS_FILE) as partial:
        partial.write_bytes(file.read_bytes())


def _about(file: Path) -> str:
    first = file.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
    return first.lstrip("# ").rstrip() if first.startswith("#") else ""


def _git(*arguments: str) -> bytes | None:
    """What git prints; None where it fails or is not installed."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None
