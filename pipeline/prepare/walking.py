"""The image files of class folders, and what there is left out.

Left out, and counted, are folders of programs and hidden ones, files that are no images, and links
to folders that are read elsewhere:

    pets/cat/1.jpg              an image of class cat
    pets/cat/@eaDir/1.jpg/S.jpg a thumbnail of a file server, left out with its folder
    pets/cat/IMG_2.heic         left out, no ending that can be read
    pets/cat/all -> ..          left out, a link to the folder of the class folders
    pets/cat/more -> /disk/cats images of class cat
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pipeline.common.errors import UserError, listed
from pipeline.images.decoding import is_image
from pipeline.prepare.directories import ending_of, has_image_ending, is_folder, is_stray, scan

STRAY_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})  # not counted
FOLDERS = "hidden folders and folders of programs"
LINKS = "folders that links lead to twice"
BESIDE = "images beside the class folders"
ORDINARY = re.compile(r"\.[a-z][a-z0-9]{0,7}")  # an ending that says what a file is

LeftOut = dict[str, list[str]]


class FolderImages(NamedTuple):
    """files: the image files of each class folder, sorted by path; left_out: by kind the files and
    folders that are no part of the set, below the folder of class folders."""

    files: list[list[Path]]
    left_out: LeftOut


def images_of(root: Path, names: Sequence[str]) -> FolderImages:
    """The image files below the class folders `names` of `root`; every folder is read once.

    Raises:
        UserError: a class folder holds the others, is another one too or has no image, or a
            folder cannot be read.
    """
    walk = _Walk(root)
    folders = [root / name for name in names]
    real_folders = [walk.claim(folder) for folder in folders]
    links: list[list[Path]] = [[] for _ in names]
    files = [
        walk.below(folder, real, class_links)
        for folder, real, class_links in zip(folders, real_folders, links, strict=True)
    ]
    for class_files, class_links in zip(files, links, strict=True):
        walk.follow(class_links, class_files)  # what lies there by itself is not read by a link
    for name, class_files in zip(names, files, strict=True):
        if not class_files:
            raise UserError(f"{root / name}: class '{name}' has no image{walk.ignored_in(name)}")
        class_files.sort()
    return FolderImages(
        files, {kind: sorted(walk.left_out[kind]) for kind in sorted(walk.left_out)}
    )


@dataclass
class _Walk:
    """The folders that are read, by their real paths, and what is left out so far."""

    root: Path
    read: dict[str, str] = field(default_factory=dict)
    left_out: LeftOut = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.real_root = os.path.realpath(self.root)
        for entry in scan(self.root):
            if is_folder(entry):
                if is_stray(entry.name):
                    self.leave_out(FOLDERS, entry.path)
                else:  # no link leads to another class's images
                    self.read[os.path.realpath(entry.path)] = ""
            elif has_image_ending(entry.name):
                self.leave_out(BESIDE, entry.path)

    def leave_out(self, kind: str, path: str) -> None:
        """Count a file or folder."""
        name = os.path.relpath(path, self.root).encode(errors="replace").decode()
        self.left_out.setdefault(kind, []).append(name)

    def claim(self, folder: Path) -> str:
        """The real path of a class folder, which no other class folder may have."""
        real = os.path.realpath(folder)
        if self._holds_root(real):
            raise UserError(
                f"{folder}: class '{folder.name}' is a link to {real}, which holds the class "
                "folders themselves; remove the link"
            )
        if self.read.get(real):
            raise UserError(
                f"{self.root}: classes '{self.read[real]}' and '{folder.name}' are one folder, "
                f"{real}; remove a link, or choose one of them with `classes`"
            )
        self.read[real] = folder.name
        return real

    def _holds_root(self, real: str) -> bool:
        return Path(self.real_root).is_relative_to(real)

    def below(self, folder: Path, real: str, links: list[Path]) -> list[Path]:
        """The image files below `folder`, not through links to folders, which are appended to
        `links`.

        Args:
            real: its real path.
        """
        paths, pending = [], [(str(folder), real)]
        while pending:
            parent, real_parent = pending.pop()
            for entry in scan(parent):
                if has_image_ending(entry.name):
                    paths.append(Path(entry.path))  # even a folder: decoding says that it is one
                if not is_folder(entry):
                    self._take_file(entry, paths)
                elif is_stray(entry.name):
                    self.leave_out(FOLDERS, entry.path)
                elif entry.is_symlink():
                    links.append(Path(entry.path))
                elif (real_path := os.path.join(real_parent, entry.name)) in self.read:
                    self.leave_out(LINKS, entry.path)  # a class folder links to it
                else:
                    self.read[real_path] = ""
                    pending.append((entry.path, real_path))
        return paths

    def _take_file(self, entry: "os.DirEntry[str]", paths: list[Path]) -> None:
        """Append a file without an ending that is an image to `paths`, count what is none."""
        name = entry.name
        if name.startswith(".") or name.lower() in STRAY_FILES or has_image_ending(name):
            return
        ending = ending_of(name)
        if not ending and os.path.isfile(entry.path) and is_image(Path(entry.path)):
            paths.append(Path(entry.path))
        else:
            self.leave_out(_kind_of(ending), entry.path)

    def follow(self, links: Sequence[Path], paths: list[Path]) -> None:
        """Append the image files behind links to folders, unless they are read elsewhere."""
        for link in sorted(links):
            real = os.path.realpath(link)
            if real in self.read or self._holds_root(real):
                self.leave_out(LINKS, str(link))
                continue
            self.read[real] = ""
            links_there: list[Path] = []
            paths += self.below(link, real, links_there)
            self.follow(links_there, paths)

    def ignored_in(self, name: str) -> str:
        """What is left out in a class folder, for a message; "" if nothing."""
        kinds = [
            f"{kind} ({count})"
            for kind, sources in sorted(self.left_out.items())
            if (count := sum(source.startswith(f"{name}{os.sep}") for source in sources))
        ]
        return f"; left out are {listed(kinds, 5)}" if kinds else ""


def _kind_of(ending: str) -> str:
    if not ending:
        return "files without an ending that are no images"
    return f"files ending in {ending}" if ORDINARY.fullmatch(ending) else "files of other endings"
