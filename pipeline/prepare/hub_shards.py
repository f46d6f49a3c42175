"""Shards of a data set on the Hugging Face hub, fetched once and checked."""

import hashlib
import shlex
from pathlib import Path
from typing import Any

from pipeline.common.errors import UserError, first_line
from pipeline.images.data_root import downloads_allowed, locate

HUB = "hf:"
TABLES = ("classnames.txt", "zeroshot_classification_templates.txt")


def folder_of(root: str) -> str:
    """Where `hf:<organisation>/<name>` is kept, below the data root."""
    return f"webdataset/{root.removeprefix(HUB).replace('/', '--')}"


def is_whole(root: str, split: str) -> bool:
    """Whether a split was fetched to its end."""
    return (locate(folder_of(root)) / f".{split}.complete").exists()


def fetch(root: str, split: str) -> str:
    """Fetch `hf:<organisation>/<name>` unless it is there; its folder below the data root.

    Raises:
        UserError: it is not there and params do not allow a download, or the download fails or
            differs from the hub's checksum.
    """
    repository, relative = root.removeprefix(HUB), folder_of(root)
    folder = locate(relative)
    if is_whole(root, split):
        return relative
    if not downloads_allowed():
        quoted_folder = shlex.quote(str(folder.absolute()))
        raise UserError(
            f"{folder}: '{root}' is not there yet; set data.download: true, or get it with: "
            f"hf download --repo-type dataset {repository} --include '*.txt' '{split}/*' "
            f"--local-dir {quoted_folder} && touch {quoted_folder}/.{split}.complete"
        )
    try:
        _download(repository, split, folder)
    except UserError:
        raise
    except Exception as error:  # the hub raises a dozen kinds, all meaning "not to be had"
        reason = first_line(error)[:200]
        raise UserError(f"{root}: download failed: {reason}") from None
    (folder / f".{split}.complete").touch()
    return relative


def _download(repository: str, split: str, folder: Path) -> None:
    from huggingface_hub import HfApi, snapshot_download

    info = HfApi().dataset_info(repository, files_metadata=True)
    snapshot_download(
        repository,
        repo_type="dataset",
        revision=info.sha,
        allow_patterns=[*TABLES, f"{split}/*"],
        local_dir=folder,
    )
    for sibling in info.siblings or []:
        _check(folder / sibling.rfilename, sibling)


def _check(path: Path, sibling: Any) -> None:
    """Compare a file with the sha256 that the hub keeps of large files."""
    if not path.exists() or sibling.lfs is None:
        return
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != sibling.lfs.sha256:
        path.unlink()
        raise UserError(f"{path}: its sha256 is not the hub's; it was removed, run again")
