"""Where a published data set is expected, how to get it, and fetching it where params allow."""

import shlex
from pathlib import Path
from urllib.request import Request, urlopen

from pipeline.common.atomic import replacing_file
from pipeline.common.errors import UserError, first_line
from pipeline.common.progress import counter
from pipeline.images.data_root import ROOT_VARIABLE, downloads_allowed
from pipeline.prepare.facts import Archive, Facts

TIMEOUT = 60  # seconds without a byte, then a download has failed
EXTRACT = {".zip": "unzip -q", ".gz": "gunzip"}  # tar files: "tar xf"
TARS = (".tar", ".tar.gz", ".tgz")


def missing_paths(facts: Facts, split: str, root: Path) -> list[Path]:
    """The paths that a split needs and that are not in `root`."""
    return [root / path for path in facts.splits[split].needs if not (root / path).exists()]


def is_fetchable(facts: Facts) -> bool:
    """Whether everything can be fetched over TLS and checked against the publisher's checksum."""
    return (
        bool(facts.archives)
        and not (facts.manual or facts.finish)
        and all(archive.url.startswith("https://") and archive.md5 for archive in facts.archives)
    )


def archives_of(facts: Facts, split: str) -> list[Archive]:
    """The archives that a split comes in."""
    return [archive for archive in facts.archives if archive.split in ("", split)]


def obtain(facts: Facts, split: str, root: Path) -> None:
    """Fetch the split unless it is there, where params allow that.

    Raises:
        UserError: one message: what is missing where, and the commands that get it.
    """
    if not missing_paths(facts, split, root):
        return
    if not (downloads_allowed() and is_fetchable(facts)):
        raise UserError(how_to_get(facts, split, root))
    try:
        for archive in archives_of(facts, split):
            fetch(archive, root)
    except Exception as error:  # any of the network's, the archive's or the disk's
        reason = first_line(error)
        raise UserError(
            f"{facts.title}: download failed: {reason}; {how_to_get(facts, split, root)}"
        ) from None
    if missing_paths(facts, split, root):
        raise UserError(f"{facts.title}: downloaded, but {how_to_get(facts, split, root)}")


def fetch(archive: Archive, root: Path) -> None:
    """Download one file unless it is there already, check its md5, extract it."""
    from torchvision.datasets.utils import check_integrity, extract_archive

    folder = root / archive.into
    file = folder / archive.name
    if not check_integrity(file, archive.md5):
        download(archive.url, file)
        if not check_integrity(file, archive.md5):
            file.unlink()
            raise OSError(f"{archive.name} has another checksum than its publisher states")
    if archive.name.endswith((*TARS, *EXTRACT)):
        extract_archive(str(file), str(folder), remove_finished=True)


def download(url: str, file: Path) -> None:
    """Fetch over TLS with a verified certificate, or not at all (torchvision's `download_url`
    tries again without TLS where that fails)."""
    request = Request(url, headers={"User-Agent": "saft-pipeline"})
    with urlopen(request, timeout=TIMEOUT) as response:
        if not response.url.startswith("https://"):
            raise OSError(f"{url} leads to {response.url}, which has no TLS")
        size = int(response.headers.get("Content-Length") or 0)
        with (
            replacing_file(file) as partial,
            partial.open("wb") as out,
            counter(f"download {file.name}", size, "B") as bar,
        ):
            while block := response.read(1 << 20):
                out.write(block)
                bar.update(len(block))


def how_to_get(facts: Facts, split: str, root: Path) -> str:
    """One line: what is missing, where it is expected, and the commands that get it."""
    missing = ", ".join(str(path.relative_to(root)) for path in missing_paths(facts, split, root))
    there = "" if root.exists() else f" (no such folder: set {ROOT_VARIABLE} or data.root)"
    allow = is_fetchable(facts) and not downloads_allowed()
    ways = [
        facts.manual,
        " && ".join(commands_for(facts, split, root)),
        "or set data.download: true" if allow else "",
    ]
    return (
        f"{facts.title} ({split}) is missing: no {missing or 'such split'} in {root}{there}. "
        f"Get it: {'; '.join(way for way in ways if way)}"
    )


def commands_for(facts: Facts, split: str, root: Path) -> list[str]:
    """Shell commands that fetch, check and extract every file into its folder below `root`."""
    root, current_folder = root.absolute(), None
    lines: list[str] = []

    def enter(folder: Path) -> None:
        nonlocal current_folder
        if folder != current_folder:
            quoted = shlex.quote(str(folder))
            lines.extend([f"mkdir -p {quoted}", f"cd {quoted}"])
            current_folder = folder

    for archive in archives_of(facts, split):
        enter(root if archive.into == "." else root / archive.into)
        name = archive.name
        lines.append(f"curl -fLO {archive.url}")
        if archive.md5:
            lines.append(f"echo '{archive.md5}  {name}' | md5sum -c")
        if name.endswith(TARS):
            lines.append(f"tar xf {name}")
        elif Path(name).suffix in EXTRACT:
            lines.append(f"{EXTRACT[Path(name).suffix]} {name}")
    if facts.finish:
        enter(root)
    return lines + [command.replace("{split}", split) for command in facts.finish]
