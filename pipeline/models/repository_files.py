"""A single file of a repository of the Hugging Face hub, such as a checkpoint."""

from pathlib import Path

from huggingface_hub import hf_hub_download

from pipeline.common.errors import UserError, first_line
from pipeline.models.hub import HUB, OFFLINE


def file_of_repository(spec: str) -> tuple[str, str]:
    """(repository, file in it) of "hf-hub:<organisation>/<repository>/<file>".

    Raises:
        UserError: it names no file.
    """
    parts = spec.removeprefix(HUB).split("/", 2)
    if len(parts) < 3 or not all(parts):
        raise UserError(f"file: {spec}: write {HUB}<organisation>/<repository>/<file>")
    return "/".join(parts[:2]), parts[2]


def repository_file(spec: str, cache_dir: str | None) -> Path:
    """The file that `spec` names (see `file_of_repository`), from the cache or downloaded.

    Raises:
        UserError: it names no file, or the file cannot be had.
    """
    repository, name = file_of_repository(spec)
    try:
        return Path(hf_hub_download(repository, name, cache_dir=cache_dir))
    except Exception as error:  # the hub raises a dozen kinds, all meaning "not available"
        reason = first_line(error)[:200].rstrip(". ")
        raise UserError(f"cannot load {spec}: {reason}; {OFFLINE}") from None
