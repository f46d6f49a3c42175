"""A run killed in the last step of packing goes on from what it had decoded, to the same bytes."""

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.common.errors import UserError
from pipeline.datasets import imagefolder
from pipeline.images.classes import CLASSES
from pipeline.images.decoding import Decoded
from pipeline.images.image_set import IMAGES, ImageSource
from pipeline.prepare import pack as packing
from pipeline.prepare import pixel_files
from pipeline.prepare.pack import pack
from tests.conftest import folder_params

BROKEN = "n01/2.png"


@pytest.fixture
def project(tmp_path, class_folders, monkeypatch) -> Path:
    """A project beside a copy of the images, of which one cannot be read."""
    shutil.copytree(class_folders, tmp_path / "images")
    (tmp_path / "images" / BROKEN).write_bytes(b"no image")
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "dvc.yaml").touch()
    return folder


def source(project: Path, decoded: list[str] | None = None) -> ImageSource:
    """The images; names of those that are decoded are appended to `decoded`."""
    opened = imagefolder.open_source(folder_params(project.parent / "images"))

    def decode(number: int) -> Decoded:
        if decoded is not None:
            decoded.append(opened.items[number].source)
        return opened.decode(number)

    return replace(opened, decode=decode)


def run(project: Path, decoded: list[str] | None = None, mode: packing.Mode = "drop") -> None:
    pack(source(project, decoded), "tiny", IMAGES / "tiny", CLASSES / "tiny.parquet", mode)


def outputs() -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(Path("data").rglob("*")) if p.is_file()}


def killed_at(project: Path, step: int) -> int:
    """Run in a forked process that kills itself before operation `step` on files; without such a
    step, how many operations there are. A folder that is removed is one."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        counted = _count_operations(step)
        try:
            run(project)
        finally:
            os.write(writing, bytes([counted[0]]))
            os._exit(0)
    _, status = os.waitpid(child, 0)
    os.close(writing)
    counted_operations = os.read(reading, 1)
    os.close(reading)
    assert os.WIFSIGNALED(status) == bool(step) == (not counted_operations)
    return counted_operations[0] if counted_operations else 0


def _count_operations(step: int) -> list[int]:
    counted = [0]

    def counting(operation: Callable) -> Callable:
        def counted_operation(*args: object, **kwargs: object) -> object:
            counted[0] += 1
            if counted[0] == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return operation(*args, **kwargs)

        return counted_operation

    for name in ("replace", "link"):
        setattr(os, name, counting(getattr(os, name)))
    np.memmap.__setitem__ = counting(np.memmap.__setitem__)  # type: ignore[method-assign]
    shutil.rmtree = counting(shutil.rmtree)  # type: ignore[assignment]
    return counted


@pytest.mark.parametrize("broken", [True, False])
def test_killed_before_any_operation_it_goes_on_to_the_same_bytes(project, class_folders, broken):
    if not broken:
        shutil.copy(class_folders / BROKEN, project.parent / "images" / BROKEN)
    operations = killed_at(project, step=0)
    expected = outputs()
    assert len(expected) == 4
    resumed = 0
    for step in range(1, operations + 1):
        shutil.rmtree("data", ignore_errors=True)
        shutil.rmtree(".scratch", ignore_errors=True)
        killed_at(project, step)
        complete = list(Path(".scratch").glob("prepare-*/findings.json"))
        decoded: list[str] = []
        run(project, decoded)
        assert outputs() == expected
        assert not list(Path(".scratch").glob("prepare-*/"))
        assert not list(Path(".scratch/partial").iterdir())
        if complete:  # all had been decoded: only what could not be is tried again
            assert {name for name in decoded} <= {BROKEN}
            resumed += 1
    assert resumed >= 8


def test_what_is_resumed_is_not_written_through_into_an_output(project, class_folders, monkeypatch):
    """Killed between the last rename and the end, state and output are one file by two names."""
    with monkeypatch.context() as patch:
        patch.setattr(packing.scratch, "clear", lambda state: None)
        (project.parent / "images" / BROKEN).unlink()
        run(project)
    before = (IMAGES / "tiny/images.npy").read_bytes()
    (state,) = Path(".scratch").glob("prepare-*/")
    out = pixel_files.working_file(source(project), state, new=False)
    out[:] = 0
    out.flush()
    assert (IMAGES / "tiny/images.npy").read_bytes() == before


def failing(*_: object) -> None:
    raise OSError("the disk is gone")


def test_dropped_images_can_be_asked_for_again(project, class_folders, monkeypatch):
    """Killed with the gaps half closed under `drop`, then run under `error` with all mended."""
    with monkeypatch.context() as patch:
        patch.setattr(packing, "write_table", failing)
        with pytest.raises(OSError, match="disk"):
            run(project)
    with pytest.raises(UserError, match=BROKEN):
        run(project, mode="error")
    shutil.copy(class_folders / BROKEN, project.parent / "images" / BROKEN)
    run(project, mode="error")
    assert len(np.load(IMAGES / "tiny/images.npy")) == 16


def test_without_hard_links_the_pixels_are_copied(project, monkeypatch):
    def refused(*_: object) -> None:
        raise PermissionError("no hard links here")

    run(project)
    expected = outputs()
    shutil.rmtree("data")
    monkeypatch.setattr(os, "link", refused)
    run(project)
    assert outputs() == expected
