"""A data set that is not there: one line with the commands, which are run here."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from pipeline.common import registry
from pipeline.datasets import eurosat, imagenet, stl10
from pipeline.datasets import oxford_pets as pets
from pipeline.prepare import download
from pipeline.prepare.facts import Archive
from tests.support.dataset_fixtures import WRITERS
from tests.support.dataset_fixtures.base import not_opened as refused

ENTRIES = sorted({case.split()[0] for case in WRITERS})
SPLITS = [(name, split) for name in ENTRIES
          for split in registry.load("pipeline.datasets", name, "test").FACTS.splits]  # fmt: skip
MISSING = pytest.mark.parametrize(("name", "split"), SPLITS)


def entry(name: str) -> ModuleType:
    return registry.load("pipeline.datasets", name, "test")


@MISSING
def test_a_missing_set_is_one_line_with_folder_paths_and_commands(
    data_root: Path, name: str, split: str
) -> None:
    facts = entry(name).FACTS
    message = refused(name, split=split)
    assert message.startswith(f"{facts.title} ({split}) is missing: no ")
    assert f" in {data_root}" in message
    for path in facts.splits[split].needs:
        assert path in message
    assert "no such folder" not in message
    for archive in facts.archives:
        in_split = archive.split in ("", split)
        assert (f"curl -fLO {archive.url} " in f"{message} ") == in_split
        assert ((archive.md5 or archive.url) in message) == in_split
    assert facts.manual in message
    assert "{split}" not in message
    assert facts.manual or facts.archives


def test_a_missing_data_root_is_named_with_what_sets_it(data_root: Path, monkeypatch) -> None:
    monkeypatch.setenv("SAFT_DATA", str(data_root / "absent"))
    message = refused("dtd")
    assert f"in {data_root / 'absent'} (no such folder: set SAFT_DATA or data.root)" in message


def test_only_what_is_missing_is_named(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    WRITERS["food101"](data_root, monkeypatch)
    (data_root / "food-101/meta/test.json").unlink()
    assert "is missing: no food-101/meta/test.json in " in refused("food101")


@MISSING
def test_the_commands_are_shell(tmp_path: Path, name: str, split: str) -> None:
    """In a folder whose name needs quoting."""
    data_root = tmp_path / "my data's $HOME"
    commands = " && ".join(download.commands_for(entry(name).FACTS, split, data_root))
    checked = subprocess.run(["bash", "-n", "-c", commands], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "{split}" not in commands


ARCHIVES = [(name, archive) for name in ENTRIES for archive in entry(name).FACTS.archives]


@pytest.mark.parametrize(("name", "archive"), ARCHIVES)
def test_the_commands_put_files_where_the_entry_looks(
    tmp_path: Path, name: str, archive: Archive
) -> None:
    """Run for real, with a `curl` that makes an archive of one file and the checksum left out:
    everything ends below the folder that the facts name, and the archive is extracted there."""
    facts = entry(name).FACTS
    split = archive.split or facts.split
    lone = replace(facts, archives=(archive._replace(md5=None),), finish=())
    commands = " && ".join(download.commands_for(lone, split, tmp_path / "the root"))
    stand_in = tmp_path / "curl"
    stand_in.write_text(
        "#!/bin/sh\nf=${2##*/}; echo hello > inside.txt\ncase $f in\n"
        "*.zip) python3 -m zipfile -c $f inside.txt;; *.tgz|*.tar.gz) tar czf $f inside.txt;;\n"
        "*.tar) tar cf $f inside.txt;; *.gz) gzip -c inside.txt > $f;; *) cp inside.txt $f;;\n"
        "esac; rm inside.txt\n"
    )
    unzip = tmp_path / "unzip"
    unzip.write_text("#!/bin/sh\nexec python3 -m zipfile -e $2 .\n")
    for program in (stand_in, unzip):
        program.chmod(0o755)
    path = f"PATH={tmp_path}:$PATH; "
    done = subprocess.run(["bash", "-ec", path + commands], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    single = not archive.name.endswith((".zip", ".tar", ".tgz", ".tar.gz"))
    file_name = archive.name.removesuffix(".gz") if single else "inside.txt"
    assert (tmp_path / "the root" / archive.into / file_name).read_text() == "hello\n"


@pytest.mark.parametrize(
    ("module", "split", "message"),
    [
        (imagenet, "test", "ImageNet: the labels of split 'test' are not public; take train or"),
        (stl10, "unlabeled", "STL-10: the labels of split 'unlabeled' are not public; take train"),
        (imagenet, "dev", "ImageNet: split is 'dev', expected one of train, val"),
        (eurosat, "test", "EuroSAT: split is 'test', expected one of all"),
        (pets, "val", "Oxford-IIIT Pet: split is 'val', expected one of trainval, test"),
    ],
)
def test_splits_that_there_are_not(
    data_root: Path, module: ModuleType, split: str, message
) -> None:
    assert message in refused(module.__name__.rsplit(".", 1)[1], split=split)


def test_the_test_split_of_tiny_imagenet_has_no_labels(data_root: Path) -> None:
    assert "the labels of split 'test' are not public" in refused("tiny_imagenet", split="test")


@pytest.mark.parametrize("name", ENTRIES)
def test_the_facts_are_whole(name: str) -> None:
    facts = entry(name).FACTS
    for text in (facts.title, facts.licence, facts.citation):
        assert text.strip() == text
        assert text
    assert re.fullmatch(r"https?://\S+", facts.homepage)
    assert re.search(r"\b(19|20)\d\d\b", facts.citation)
    assert facts.disk_gb > 0
    assert facts.split in facts.splits
    assert not set(facts.unlabelled) & set(facts.splits)
    for split in facts.splits.values():
        assert split.images >= split.classes > 1
        assert split.needs
    assert facts.templates
    assert all(template.count("{}") == 1 for template in facts.templates)
    assert all(re.fullmatch("[0-9a-f]{32}", a.md5) for a in facts.archives if a.md5)
    assert all(a.split in ("", *facts.splits) for a in facts.archives)
    assert facts.archives or facts.manual
