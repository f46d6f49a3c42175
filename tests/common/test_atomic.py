"""Outputs that appear whole or not at all."""

import pytest

from pipeline.common.atomic import replacing_directory, replacing_file


def test_outputs_appear_whole_or_not_at_all(tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(FileNotFoundError), replacing_file(tmp_path / "file") as partial:
        partial.write_text("half") and (tmp_path / "no").read_text()
    with pytest.raises(FileNotFoundError), replacing_directory(tmp_path / "folder") as partial:
        (partial / "a").write_text("half") and (tmp_path / "no").read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"
    with replacing_directory(tmp_path / "folder") as partial:
        (partial / "a").write_text("whole")
    assert (tmp_path / "folder/a").read_text() == "whole"
