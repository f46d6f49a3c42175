"""Files and folders of every writer have the modes that the umask gives, so that a group can share
them and nobody else reads what was closed to others."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.clip import model as clip
from pipeline.clip.folders import record_folder
from pipeline.common.atomic import replacing_directory, replacing_file
from pipeline.common.tables import write_json
from pipeline.datasets import imagefolder
from pipeline.prepare.pack import pack
from saft.export import transformers_folder
from stages import about
from tests.conftest import folder_params


@pytest.fixture(params=[0o022, 0o002, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_what_is_written_has_the_modes_of_the_umask(
    umask, clip_folder, class_folders, tmp_path, monkeypatch
):
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    loaded = clip.load(clip_folder)
    clip.save(loaded.model, loaded.config, Path("data/models/base/clip"))
    source = imagefolder.open_source(folder_params(class_folders))
    pack(source, "tiny", Path("data/images/tiny"), Path("data/classes/tiny.parquet"))
    write_json(record_folder("base") / "about.json", {"name": "base"})
    (record_folder("base") / "about.json").chmod(0o400)  # as DVC's cache has it, where it links
    about.main("base")
    with replacing_file(Path("reports/page.html")) as partial:
        partial.write_text("page")
    with replacing_directory(Path("export")) as folder:
        transformers_folder.write(loaded, folder)
    assert json.loads(Path("data/about/base/about.json").read_text()) == {"name": "base"}
    (record_folder("base") / "about.json").unlink()
    written = [path for path in project.rglob("*") if not path.is_symlink()]
    wrong = {
        str(path.relative_to(project)): oct(stat.S_IMODE(path.stat().st_mode))
        for path in written
        if stat.S_IMODE(path.stat().st_mode) != (0o777 if path.is_dir() else 0o666) & ~umask
    }
    assert wrong == {}
    assert len(written) > 20
