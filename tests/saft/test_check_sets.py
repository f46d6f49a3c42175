"""What `saft check` says of image sets: downloads, damage, single classes, and their disk."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from PIL import Image
from ruamel.yaml import YAML

from pipeline.common.errors import UserError
from pipeline.images.classes import ClassEntry
from pipeline.images.image_set import ImageSet, check_classes
from saft.check import disk, dvc, letter_case
from saft.check import parts as checks
from saft.check.plan import Plan
from saft.check.sets import inspect_set
from stages import prepare
from tests.support.check_project import change, entered

Usage = namedtuple("Usage", "total used free")
FOLDER = {"source": "imagefolder", "names": None, "classes": None, "images_per_class": None,
          "skip": 0, "size": 32, "resize": "crop"}  # fmt: skip
SHARDS = {"source": "webdataset", "root": "hf:org/name", "split": "test", "size": 32,
          "resize": "crop"}  # fmt: skip


@pytest.fixture
def project(checkout, monkeypatch):
    """The copy as current folder, of which dvc would run nothing but some preparing."""
    runs = dvc.Runs(("prepare@pairs", "prepare@new"), "", Path(".dvc/cache"), "copy")
    monkeypatch.setattr(dvc, "stages_to_run", lambda: runs)
    yield from entered(checkout, monkeypatch)
    shutil.rmtree(checkout / "data/raw", ignore_errors=True)


def with_unused_sets(**new: dict) -> None:
    """Add sets to params.yaml."""
    sets = YAML(typ="safe").load(Path("params.yaml").read_text())["prepare"]["sets"]
    change(prepare__sets=sets | new)


def with_sets(**new: dict) -> None:
    """Add sets to params.yaml, all of which are evaluated."""
    with_unused_sets(**new)
    names = YAML(typ="safe").load(Path("params.yaml").read_text())["evaluate"]["datasets"]
    change(evaluate__datasets=list(dict.fromkeys([*names, *new])))


def lines_and_problems() -> tuple[list[str], list[str]]:
    """(lines, problems) of the whole check."""
    parts = list(checks.run(Plan()))
    lines = [line for part in parts for line in part.lines]
    problems = [text for part in parts for text in part.problems]
    assert not any(checks.UNEXPECTED in text for text in [*lines, *problems])
    return lines, problems


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a download")

    monkeypatch.setattr("pipeline.prepare.hub_shards._download", refuse)
    monkeypatch.setattr("pipeline.prepare.download.download", refuse)
    monkeypatch.setattr("pipeline.prepare.download.urlopen", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)


def test_shards_of_the_hub_are_not_downloaded(project, no_network):
    with_sets(new=SHARDS)
    _, [problem] = lines_and_problems()
    assert problem.startswith("prepare.sets.new: data/raw/webdataset/org--name: 'hf:org/name' is ")
    assert "set data.download: true" in problem
    change(data__download=True)
    change(
        evaluate__datasets=["new"],
        evaluate__checks__datasets=["new"],
        embed__texts__template={"default": "own"},
    )
    lines, problems = lines_and_problems()
    assert problems == [
        "params.yaml: embed.texts.template asks for the own templates of 'shapes-train', whose "
        "source has none; write a list for it there"
    ], "those of a set that nobody has seen are not known"
    assert any(line.startswith("new                     download  unknown, 32 x") for line in lines)
    assert any(
        "hf:org/name (test) will be downloaded to data/raw/webdataset/org--name" in line
        for line in lines
    )
    assert "not counted, for the hub tells no size: download of new" in lines


def test_shards_that_are_complete_are_opened(project, no_network):
    with_sets(new=SHARDS)
    change(data__download=True)
    folder = Path("data/raw/webdataset/org--name")
    folder.mkdir(parents=True)
    (folder / ".test.complete").touch()
    _, [problem] = lines_and_problems()
    assert "classnames.txt: not found" in problem


def test_what_is_left_out_and_noted_of_a_set_is_said(project, capsys):
    birds = project / "data/raw/birds"
    for name in ("n01443537", "n02012849"):
        (birds / name / "@eaDir").mkdir(parents=True)
        Image.new("RGB", (9, 9)).save(birds / name / "0.png")
        (birds / name / "1.heic").touch()
    with_sets(new=FOLDER | {"root": "birds"})
    lines, problems = lines_and_problems()
    said = [
        "files ending in .heic: 2 left out, e.g. n01443537/1.heic",
        "hidden folders and folders of programs: 2 left out, e.g. n01443537/@eaDir",
        "2 class names are wnids, which tell CLIP nothing of the class (n01443537, n02012849); "
        "display_names: wordnet or openai gives ImageNet's names",
    ]
    warned = [line.strip() for line in lines if line.strip().startswith("warning: ")]
    assert [f"warning: {text}" for text in said] == [w for w in warned if w[9:] in said]
    assert problems == []
    prepare.main("new")
    printed = capsys.readouterr().out.splitlines()
    assert printed[-4:-1] == [f"new: {text}" for text in said], "the stage says the same"
    shutil.rmtree(birds)
    dvc_runs_nothing = dvc.Runs((), "", Path(".dvc/cache"), "copy")
    state = inspect_set("new", FOLDER | {"root": "birds"}, "x", dvc_runs_nothing)
    assert (state.state, list(state.warnings)) == ("packed", said)
    shutil.rmtree(project / "data/images/new")


@pytest.mark.parametrize("blind", [False, True])
def test_names_that_differ_in_case_only(project, monkeypatch, blind):
    monkeypatch.setattr(letter_case, "is_case_blind", lambda _: blind)
    assert not any("differ in case" in text for part in lines_and_problems() for text in part)
    values = Plan().values
    with_unused_sets(Digits=values["prepare"]["sets"]["digits"])
    change(
        models=values["models"] | {"Finetuned": values["models"]["base"]},
        embed__texts=values["embed"]["texts"] | {"Unseen": {"default": ["{}"]}},
    )
    lines, problems = lines_and_problems()
    said = [text for text in (problems if blind else lines) if "differ in case only" in text]
    start = "" if blind else "warning: "
    assert [text.partition(" differ")[0] for text in said] == [
        f"{start}params.yaml: prepare.sets: Digits, digits",
        f"{start}params.yaml: models: Finetuned, finetuned",
        f"{start}params.yaml: embed.texts: Unseen, unseen",
    ]
    assert bool(problems) is blind


def test_a_file_system_that_is_blind_to_case_is_known_by_a_file(tmp_path):
    file = tmp_path / "params.yaml"
    file.touch()
    assert not letter_case.is_case_blind(file)
    (tmp_path / "PARAMS.YAML").touch()
    assert not letter_case.is_case_blind(file), "two files"
    (tmp_path / "PARAMS.YAML").unlink()
    (tmp_path / "PARAMS.YAML").hardlink_to(file)
    assert letter_case.is_case_blind(file)


def test_published_sets_are_not_downloaded_and_their_disk_is_counted(
    project, no_network, monkeypatch
):
    cifar = {"source": "cifar10", "size": 32}
    with_sets(new=cifar, train=cifar | {"split": "train"}, other=cifar | {"root": "elsewhere"})
    change(data__download=True)
    plan = Plan()
    assert {plan.sets[name].state for name in ("new", "train", "other")} == {"download"}
    assert disk.downloads(plan) == {
        Path("data/raw"): pytest.approx(0.36e9),  # both splits are of one archive
        Path("data/raw/elsewhere"): pytest.approx(0.36e9),
    }
    lines, problems = lines_and_problems()
    assert problems == []
    assert "downloads to data/raw: 360 MB" in lines
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: Usage(10**9, 0, 7 * 10**8))
    _, [line] = lines_and_problems()
    assert "700 MB free: free " in line
    assert "set SAFT_DATA or data.root (downloads) or `dvc cache dir` to another disk" in line


def test_downloads_count_on_the_disk_they_go_to(project, tmp_path, monkeypatch):
    (tmp_path / "large").mkdir()
    change(data__root=str(tmp_path / "large"), data__download=True)
    with_sets(new={"source": "cifar10", "size": 32})
    numbers = lambda path: 2 if "large" in str(path) else 1  # noqa: E731
    monkeypatch.setattr(disk, "_device", numbers)
    lines, _ = lines_and_problems()
    assert any(
        line.startswith(f"disk of {tmp_path}/large: ") and line.endswith("360 MB needed")
        for line in lines
    ), lines


def test_state_of_runs_that_did_not_end(project, monkeypatch):
    folder = project / ".scratch/finetune-abc"
    folder.mkdir(parents=True)
    (folder / "last.pt").write_bytes(b"x" * 100_000)
    lines, _ = lines_and_problems()
    assert not any("did not end" in line for line in lines), "below a gigabyte it is no matter"
    monkeypatch.setattr(disk, "RESUME_SHOWN", 1e4)
    lines, _ = lines_and_problems()
    shutil.rmtree(project / ".scratch")
    [line] = [line for line in lines if "did not end" in line]
    assert line.startswith(".scratch: 1")
    assert "kB of runs that did not end, encoded texts and clean predictions; " in line
    assert line.endswith("delete it when no stage is running")


@pytest.mark.parametrize("key", ["finetune__dataset", "evaluate__datasets",
                                 "evaluate__checks__datasets"])  # fmt: skip
def test_a_single_class_is_a_problem_before_the_training(project, key):
    for name in ("n01", "n02"):
        (project / f"data/raw/birds/{name}").mkdir(parents=True)
        (project / f"data/raw/birds/{name}/0.png").touch()
    with_unused_sets(new=FOLDER | {"root": "birds", "classes": ["n01"]})
    lines, problems = lines_and_problems()
    assert any(line.startswith("not used, so not prepared: ") and "new" in line for line in lines)
    assert problems == [], "a set that no stage attacks may have one class"
    change(**{key: "new" if key == "finetune__dataset" else ["digits", "new"]})
    one = ImageSet("new", [], [], [], [ClassEntry("n01", "n01")])
    with pytest.raises(UserError) as stage:  # the very words of the stage
        check_classes(one, key.replace("__", "."))
    _, problems = lines_and_problems()
    assert str(stage.value) in problems
    with_sets(new={"source": "cifar10", "size": 32, "classes": ["cat"]})
    change(data__download=True)
    assert str(stage.value) in lines_and_problems()[1], "the params tell, even without the images"


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (NotADirectoryError(20, "Not a directory", "x"), "NotADirectoryError: [Errno 20] Not a"),
        (PermissionError(13, "Permission denied"), "PermissionError: [Errno 13] Permission denied"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), "UnicodeDecodeError: 'utf-8'"),
        (EOFError("ran\nout"), "EOFError: ran out"),
    ],
)
def test_files_that_cannot_be_opened_are_a_problem(project, monkeypatch, error, shown):
    def fail(_: object) -> None:
        raise error

    (project / "data/raw/birds").mkdir(parents=True)
    monkeypatch.setattr("pipeline.datasets.imagefolder.class_folders", fail)
    with_sets(new=FOLDER | {"root": "birds"})
    lines, [problem] = lines_and_problems()
    assert problem.startswith(f"prepare.sets.new: its files cannot be read: {shown}")
    assert problem.endswith("; fix or replace them")
    assert "\n" not in problem
    assert any("250 images" in line for line in lines), "the other sets are looked at"


def test_a_file_where_a_folder_should_be(project):
    (project / "data/raw").mkdir(parents=True)
    (project / "data/raw/file").touch()
    change(models__base__source="local", models__base__options={"path": "file/model"})
    with_sets(new=FOLDER | {"root": "file/birds"})
    _, problems = lines_and_problems()
    assert any(
        text.startswith("prepare.sets.new: data/raw/file/birds: no such") for text in problems
    )
    [model] = [text for text in problems if "models.base" in text]
    assert model.startswith("models.base.options.path: data/raw/file/model: not found; put")


def test_coverage_that_waits_for_images_names_the_set(project, monkeypatch):
    runs = dvc.Runs(("describe",), "", Path(".dvc/cache"), "copy")
    monkeypatch.setattr(dvc, "stages_to_run", lambda: runs)
    with_sets(new={"source": "cifar10", "size": 32})
    change(describe__dataset="new")
    lines, _ = lines_and_problems()
    waits = "the images of 'new' (missing) tell the classes; once they are there `saft check` says"
    assert any("coverage not checked: " + waits in line for line in lines)


def test_a_part_that_fails_leaves_the_others(project, monkeypatch):
    def fail(_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setitem(checks.PARTS, "disk", fail)
    parts = {part.title: part for part in checks.run(Plan())}
    line = "disk: could not be checked: PermissionError: [Errno 13] Permission denied"
    assert parts["disk"].problems == [line]
    assert list(parts) == list(checks.PARTS)
    assert parts["memory"].problems == []
