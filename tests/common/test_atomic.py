"""Outputs that appear whole or not at all."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.common import atomic, storage
from pipeline.common.atomic import PARTIALS, replacing_directory, replacing_file
from pipeline.common.errors import UserError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").touch()
    return tmp_path


@pytest.fixture(params=[True, False])
def in_project(request, tmp_path, monkeypatch) -> bool:
    """Whether the working folder is a project's."""
    monkeypatch.chdir(tmp_path)
    if request.param:
        (tmp_path / "dvc.yaml").touch()
    return request.param


def test_outputs_appear_whole_or_not_at_all(tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(FileNotFoundError), replacing_file(tmp_path / "file") as partial:
        partial.write_text("half") and (tmp_path / "no").read_text()
    with pytest.raises(FileNotFoundError), replacing_directory(tmp_path / "folder") as partial:
        (partial / "a").write_text("half") and (tmp_path / "no").read_text()
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "old"
    with replacing_directory(tmp_path / "folder") as partial:
        (partial / "a").write_text("whole")
    assert (tmp_path / "folder/a").read_text() == "whole"


@pytest.mark.parametrize("replacing", [replacing_file, replacing_directory])
def test_inside_the_working_folder_nothing_unfinished_is_near_the_target(project, replacing):
    with replacing(Path("data/classes/tiny")) as partial:
        assert partial.parent == PARTIALS
        assert names(project / "data/classes") == []
        (partial / "a" if replacing is replacing_directory else partial).write_text("x")
    assert names(project / "data/classes") == ["tiny"]
    assert names(project / PARTIALS) == []


@pytest.mark.parametrize("replacing", [replacing_file, replacing_directory])
def test_a_write_that_fails_takes_the_folders_with_it_that_it_made(tmp_path, replacing, in_project):
    Path("out/there").mkdir(parents=True)
    for target in ("out/a/b/x", "new/x", f"new/b/{'long' * 99}/x"):
        with pytest.raises((ValueError, OSError)), replacing(Path(target)):
            raise ValueError("half")
    assert [path for path in names(tmp_path) if path not in ("dvc.yaml", ".scratch")] == ["out"]
    assert names(tmp_path / "out") == ["there"]


@pytest.mark.parametrize("replacing", [replacing_file, replacing_directory])
def test_a_write_that_fails_harms_none_into_the_folder_that_it_made(
    tmp_path, replacing, in_project
):
    failing = replacing(Path("new/half"))
    failing.__enter__()
    with replacing(Path("new/whole")) as partial:
        assert not failing.__exit__(ValueError, ValueError("half"), None)
        assert Path("new").exists() != in_project
        (partial / "a" if replacing is replacing_directory else partial).write_text("x")
    assert names(tmp_path / "new") == ["whole"]


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("replacing", ["replacing_file", "replacing_directory"])
def test_what_a_killed_process_left_goes_with_the_next_write(
    project, tmp_path_factory, inside, replacing
):
    folder = project / "data" if inside else tmp_path_factory.mktemp("elsewhere")
    code = (
        "import os; from pathlib import Path; from pipeline.common import atomic\n"
        f"with atomic.{replacing}(Path('{folder}/x')) as partial:\n"
        "    path = partial / 'a' if partial.is_dir() else partial\n"
        "    path.write_text('half'); os.kill(os.getpid(), 9)"
    )
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    killed = subprocess.run([sys.executable, "-c", code], cwd=project, env=environment)
    assert killed.returncode == -9
    where = PARTIALS if inside else folder
    assert len(names(where)) == 1
    with replacing_file(folder / "y") as partial:
        partial.write_text("whole")
    assert names(folder) == ["y"]
    assert names(where) == ([] if inside else ["y"])


def test_the_partial_of_a_running_process_and_of_a_recent_one_elsewhere_stay(project):
    PARTIALS.mkdir(parents=True)
    running = PARTIALS / f".partial-{atomic.HOST}-{os.getppid()}-0"
    recent, old = PARTIALS / ".partial-elsewhere-1-0", PARTIALS / ".partial-elsewhere-2-0"
    for path in (running, recent, old):
        path.write_text("half")
    os.utime(old, (0, 0))
    with replacing_file(Path("x")) as partial:
        partial.write_text("whole")
    assert names(PARTIALS) == sorted([running.name, recent.name])


def test_a_rename_that_fails_loses_neither_folder(project, monkeypatch):
    with replacing_directory(Path("x")) as partial:
        (partial / "a").write_text("old")
    replace = os.replace

    def broken(source, target):
        if Path(target) == Path("x") and (Path(source) / "a").read_text() == "new":
            raise OSError(errno.EIO, "Input/output error", str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(OSError, match="Input/output"), replacing_directory(Path("x")) as partial:
        (partial / "a").write_text("new")
    assert Path("x/a").read_text() == "old"
    assert names(PARTIALS) == []


@pytest.mark.parametrize("before", [True, False])
def test_two_writers_of_a_folder_end_with_one_whole_folder_and_one_line(project, before):
    if before:
        with replacing_directory(Path("x")) as partial:
            (partial / "a").write_text("old")

    def overtaken() -> None:
        with replacing_directory(Path("x")) as partial:
            (partial / "a").write_text("second")
            with replacing_directory(Path("x")) as other:
                (other / "a").write_text("first")

    with pytest.raises(UserError, match="x: another process wrote it meanwhile"):
        overtaken()
    assert (names(Path("x")), Path("x/a").read_text()) == (["a"], "first")
    assert names(PARTIALS) == []


def test_a_writer_that_is_overtaken_in_its_last_step_leaves_the_other_folder(project, monkeypatch):
    """The other folder comes after the last look at the target."""
    monkeypatch.setattr(atomic, "_identity", lambda path: None)

    def overtaken() -> None:
        with replacing_directory(Path("x")) as partial:
            (partial / "a").write_text("second")
            Path("x").mkdir()
            Path("x/b").write_text("first")

    with pytest.raises(UserError, match="x: another process wrote it meanwhile"):
        overtaken()
    assert names(Path("x")) == ["b"]


def test_between_mounts_of_one_file_system_outputs_are_copied_beside_and_renamed(
    project, monkeypatch
):
    """A bind mount has the device number of what it shows, and no rename leads into it."""
    replace, crossing = os.replace, []

    def across(source, target):
        if (Path(source).parent == PARTIALS) != (Path(target).parent == PARTIALS):
            crossing.append(target)
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        replace(source, target)

    monkeypatch.setattr(os, "replace", across)
    for content in ("old", "new"):
        with replacing_file(Path("data/x")) as partial:
            partial.write_text(content)
        with replacing_directory(Path("data/y")) as partial:
            (partial / "a").write_text(content)
        assert Path("data/x").read_text() == Path("data/y/a").read_text() == content
    assert crossing
    assert names(Path("data")) == ["x", "y"]
    assert names(PARTIALS) == []


def test_a_linked_folder_is_replaced_where_it_is(project):
    Path("disk/x").mkdir(parents=True)
    Path("x").symlink_to("disk/x")
    with replacing_directory(Path("x")) as partial:
        (partial / "a").write_text("new")
    assert Path("x").is_symlink()
    assert Path("disk/x/a").read_text() == "new"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("PytorchStreamWriter failed writing file"),
    ],
)
def test_a_full_disk_names_the_target_and_the_file_system(project, monkeypatch, error):
    if isinstance(error, RuntimeError):
        monkeypatch.setattr(storage, "free_bytes", lambda path: 0)
    with pytest.raises(UserError) as failure, replacing_file(Path("data/x")):
        raise error
    message = str(failure.value)
    assert message.startswith("data/x: ")
    assert f"GB are free on {storage.mount_point(project)}; make room" in message
    assert names(PARTIALS) == []
    assert not Path("data").exists()


def test_modes_follow_the_umask(project):
    before = os.umask(0o027)
    try:
        with replacing_file(Path("x")) as partial:
            partial.write_text("a")
        with replacing_directory(Path("y")):
            pass
    finally:
        os.umask(before)
    assert [oct(Path(name).stat().st_mode & 0o777) for name in "xy"] == ["0o640", "0o750"]


def test_errors_about_what_is_being_written_name_the_target(project):
    with (
        pytest.raises(UserError, match=r"^x\.parquet: row 1 is bad, of data/x\.parquet$"),
        replacing_file(Path("data/x.parquet")) as partial,
    ):
        raise UserError(f"{partial.name}: row 1 is bad, of {partial}")


def test_an_interrupt_between_the_two_renames_loses_no_folder(project, monkeypatch):
    with replacing_directory(Path("x")) as partial:
        (partial / "a").write_text("old")
    replace = os.replace

    def interrupted(source, target):
        replace(source, target)
        if Path(source) == Path("x"):
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt), replacing_directory(Path("x")) as partial:
        (partial / "a").write_text("new")
    assert Path("x/a").read_text() == "old"
    assert names(PARTIALS) == []


def test_a_dead_partial_that_may_not_be_removed_stops_no_write(project, monkeypatch):
    """In a folder such as /tmp nobody removes what is another user's."""
    PARTIALS.mkdir(parents=True)
    dead = PARTIALS / f".partial-{atomic.HOST}-999999999-0"
    dead.touch()

    def refused(path, missing_ok=False):
        if path.name == dead.name:
            raise PermissionError(errno.EPERM, "Operation not permitted", str(path))
        unlink(path, missing_ok)

    unlink = Path.unlink
    monkeypatch.setattr(Path, "unlink", refused)
    with replacing_file(Path("x")) as partial:
        partial.write_text("whole")
    assert (Path("x").read_text(), dead.exists()) == ("whole", True)
