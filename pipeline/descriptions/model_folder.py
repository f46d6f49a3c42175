"""A chat model in a local folder: whether it is whole, and what identifies it.

It is identified by the sha256 of every file that an engine reads, never by the folder's name or
the files' dates: a copy is the same model, and keeps the answers that it gave. Hashing takes about
a second per GB; what was hashed is looked up by path, size and date in .scratch.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from pipeline.common.atomic import replacing_file
from pipeline.common.errors import UserError, listed
from pipeline.common.scratch import folder as scratch_folder
from pipeline.common.tables import read_json
from pipeline.common.text_files import check_fetched

WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf")  # of the first kind that is there
ABOUT = (".json", ".jinja", ".model", ".txt", ".tiktoken")  # configuration, tokenizer, template
TEMPLATES = ("chat_template.jinja", "chat_template.json", "tekken.json")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HEADER = 8  # bytes that say how long a safetensors file's header is


def model_hashes(folder: Path) -> dict[str, str]:
    """sha256 of the model's files by name, sorted.

    Raises:
        UserError: the folder holds no whole model (see `check_model`), or a file is not what
            `hf download` fetched.
    """
    check_model(folder)
    cache_file = scratch_folder("describe", "models") / "sha256.json"
    known: dict[str, str] = read_json(cache_file) if cache_file.exists() else {}
    keys = {path.name: _file_key(path) for path in _model_files(folder)}
    hashes = {name: known.get(key) or _sha256(folder / name) for name, key in keys.items()}
    _check_downloaded(folder, hashes)
    cached = known | {keys[name]: sha256 for name, sha256 in hashes.items()}
    if cached != known:
        cache_file.parent.mkdir(parents=True, exist_ok=True)
        with replacing_file(cache_file) as partial:
            partial.write_text(json.dumps(cached))
    return hashes


def check_model(folder: Path) -> None:
    """Raise UserError unless the folder has a configuration and all of its weights, each file as
    long as its header says and none a pointer of Git LFS; nothing is hashed."""
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: no config.json; it has to be a Hugging Face model folder")
    for index in sorted(folder.glob("*.index.json")):
        parts = sorted(set(_weight_map(index).values()))
        missing = [name for name in parts if not (folder / name).is_file()]
        if missing:
            raise UserError(
                f"{index}: {len(missing)} of its {len(parts)} files are not there: "
                f"{listed(missing, 3)}; fetch the model again"
            )
    weights = [path for path in _model_files(folder) if path.suffix in WEIGHTS]
    if not weights:
        raise UserError(f"{folder}: holds no weights ({', '.join(WEIGHTS)}); fetch the model again")
    for path in _model_files(folder):
        with path.open("rb") as file:
            check_fetched(file.read(64), path)
    for path in weights:
        if path.suffix == ".safetensors":
            _check_length(path)


def check_chat_template(folder: Path) -> None:
    """Raise UserError where nothing in the folder says how its model is addressed."""
    config = folder / "tokenizer_config.json"
    has_template = config.is_file() and read_json(config).get("chat_template")
    if not has_template and not any((folder / name).is_file() for name in TEMPLATES):
        raise UserError(
            f"{folder}: no chat template (chat_template in tokenizer_config.json, or "
            "chat_template.jinja); take a chat model, such as Qwen/Qwen2.5-1.5B-Instruct"
        )


def _model_files(folder: Path) -> list[Path]:
    paths = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    kinds = [kind for kind in WEIGHTS if any(path.suffix == kind for path in paths)]
    return [path for path in paths if path.suffix in (*kinds[:1], *ABOUT)]


def _weight_map(index: Path) -> Mapping[str, str]:
    content = read_json(index)
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict):
        raise UserError(f"{index}: has no weight_map; fetch the model again")
    return weight_map


def _check_length(path: Path) -> None:
    """A safetensors file begins with its header's length and the header, in which every tensor
    has data_offsets [begin, end] counted from the header's end."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_HEADER), "little")
            if length > path.stat().st_size:
                raise ValueError("no header")
            header = json.loads(file.read(length))
        tensors = [value for name, value in header.items() if name != "__metadata__"]
        expected = _HEADER + length + max((t["data_offsets"][1] for t in tensors), default=0)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{path}: no safetensors file, or cut off; fetch it again") from None
    size = path.stat().st_size
    if size != expected:
        raise UserError(f"{path}: {size} bytes instead of {expected}; fetch it again")


def _check_downloaded(folder: Path, hashes: Mapping[str, str]) -> None:
    """`hf download --local-dir` notes of each large file the sha256 that the hub has: the second
    line of .cache/huggingface/download/<name>.metadata."""
    for name, sha256 in hashes.items():
        note = folder / ".cache/huggingface/download" / f"{name}.metadata"
        lines = note.read_text().splitlines() if note.is_file() else []
        published = lines[1].strip() if len(lines) > 1 else ""
        if _SHA256.fullmatch(published) and published != sha256:
            raise UserError(
                f"{folder / name}: not the file that was downloaded (sha256 {sha256[:12]}..., "
                f"the hub's {published[:12]}...); fetch it again, or remove {note} if you mean it"
            )


def _file_key(path: Path) -> str:
    stat = path.stat()
    return f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
