"""Files of one JSON value a line that only grow; a last line that a kill cut off is dropped."""

from pathlib import Path


def append_line(path: Path, line: str) -> None:
    """Add a line, which ends with a newline; it is on disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(line)


def complete_lines(path: Path) -> list[tuple[int, bytes]]:
    """(number from 1, bytes) of every complete line that is not blank; an incomplete last one
    is cut off the file. No file: none."""
    if not path.exists():
        return []
    content = path.read_bytes()
    complete = content[: content.rfind(b"\n") + 1]
    if len(complete) < len(content):
        with path.open("r+b") as file:
            file.truncate(len(complete))
    lines = enumerate(complete.splitlines(keepends=True), start=1)
    # zeros: what a crash of the machine leaves in a block
    return [(number, line) for number, line in lines if line.strip(b"\0 \r\n")]
