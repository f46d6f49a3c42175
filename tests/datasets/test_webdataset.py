"""WebDataset shards: indexed, decoded out of the tar, streamed, fetched with a checksum."""

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import v2

from pipeline.common.errors import UserError
from pipeline.datasets import webdataset
from pipeline.images.classes import CLASSES, read_own_templates
from pipeline.images.image_set import IMAGES, open_images
from pipeline.prepare.pack import pack


def encode(picture: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **({"lossless": True} if kind == "WEBP" else {}))
    return buffer.getvalue()


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def write(root: Path, labels=((2, 0), (1, 0, 2)), kinds=("WEBP", "PNG")) -> list[Image.Image]:
    """Two shards of random pictures; the pictures in shard order."""
    rng, pictures = np.random.default_rng(0), []
    (root / "test").mkdir(parents=True)
    (root / "classnames.txt").write_text("cat\npolar bear\ncrane\n")
    (root / "zeroshot_classification_templates.txt").write_text("a bad photo of a {c}.\n{c}\n")
    (root / "test/nshards.txt").write_text(f"{len(labels)}\n")
    for number, shard_labels in enumerate(labels):
        with tarfile.open(root / f"test/{number}.tar", "w") as tar:
            for index, label in enumerate(shard_labels):
                pixels = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
                pictures.append(Image.fromarray(pixels))
                key = f"s{number}{index:03d}"
                kind = kinds[number % len(kinds)]
                add(tar, f"{key}.cls", str(label).encode())
                add(tar, f"{key}.{kind.lower()}", encode(pictures[-1], kind))
    return pictures


def params(root: object, **changes: object) -> webdataset.Params:
    values = {"source": "webdataset", "root": str(root), "split": "test", "size": 28}
    return webdataset.Params.model_validate(values | {"resize": "crop"} | changes)


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("SAFT_DATA", str(tmp_path))
    return tmp_path


def packed(name: str, **changes: object):
    source = webdataset.open_source(params("wds", **changes))
    pack(source, name, IMAGES / name, CLASSES / f"{name}.parquet")
    return open_images(name)


def test_images_labels_names_and_pixels_come_out_of_the_shards(project):
    pictures = write(project / "wds")
    images = packed("w")
    assert [(e.class_id, e.name) for e in images.classes] == [
        ("0", "cat"), ("1", "polar bear"), ("2", "crane")
    ]  # fmt: skip
    assert images.labels.tolist() == [0, 0, 1, 2, 2]
    transform = v2.Compose([v2.Resize(32), v2.CenterCrop(28)])
    for row, shard_place in enumerate([1, 3, 2, 0, 4]):
        expected = np.asarray(transform(pictures[shard_place])).transpose(2, 0, 1)
        np.testing.assert_array_equal(images.pixels[row], expected)
    assert read_own_templates("w") == ["a bad photo of a {}.", "{}"]


def test_streaming_reads_the_same_pixels_out_of_the_tar(project):
    write(project / "wds")
    packed_set, streamed = packed("w"), packed("s", stream=True)
    assert not (IMAGES / "s/images.npy").exists()
    np.testing.assert_array_equal(np.asarray(streamed.pixels), packed_set.pixels)
    assert streamed.labels.tolist() == packed_set.labels.tolist()
    (project / "wds/test/1.tar").write_bytes(b"x" * 3000)
    with pytest.raises(UserError, match=r"1\.tar: .*unlike when set 's' was prepared"):
        streamed.pixels[:]


@pytest.mark.parametrize("cut", ["between members", "in a header", "damaged header"])
def test_a_shard_that_was_cut_is_refused(project, cut):
    """tarfile itself takes each of these for the end of the archive."""
    write(project / "wds")
    shard = project / "wds/test/1.tar"
    content = bytearray(shard.read_bytes())
    with tarfile.open(shard) as tar:
        start = tar.getmembers()[2].offset
    if cut == "damaged header":
        content[start + 10] ^= 255
    kept = start + 200 if cut == "in a header" else start
    shard.write_bytes(content if cut == "damaged header" else content[:kept])
    with pytest.raises(UserError, match=r"1\.tar: is cut off or damaged after byte"):
        webdataset.open_source(params("wds"))


def test_two_images_of_a_name_and_a_class_without_its_image(project):
    write(project / "wds")
    with tarfile.open(project / "wds/test/0.tar", "a") as tar:
        add(tar, "s0000.png", encode(Image.new("RGB", (40, 40)), "PNG"))
    with pytest.raises(UserError, match=r"0\.tar: two images are called s0000"):
        webdataset.open_source(params("wds"))
    shutil.rmtree(project / "wds")
    write(project / "wds")
    with tarfile.open(project / "wds/test/0.tar", "a") as tar:
        add(tar, "odd.cls", b"1")
        add(tar, "odd.heic", b"x")
    with pytest.raises(UserError, match=r"odd\.cls has no image with an ending that is known"):
        webdataset.open_source(params("wds"))


@pytest.mark.parametrize("line", ["a photo", "{c} and {c}", "a {x} {c}"])
def test_a_template_without_one_slot_is_refused(project, line):
    write(project / "wds")
    (project / "wds/zeroshot_classification_templates.txt").write_text(line)
    with pytest.raises(UserError, match="expected exactly one {c}, the class name"):
        webdataset.open_source(params("wds"))


def test_classes_are_chosen_by_label(project):
    write(project / "wds")
    images = packed("w", classes=["2", "0"])
    assert [class_entry.name for class_entry in images.classes] == ["crane", "cat"]
    assert images.labels.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "classnames.txt").unlink(), "classnames.txt: not found"),
        (lambda root: (root / "test/nshards.txt").write_text("x"), "'x' is no number of shards"),
        (lambda root: (root / "test/nshards.txt").write_text(""), "'' is no number of shards"),
        (lambda root: (root / "classnames.txt").write_bytes(b"caf\xe9"), "not UTF-8 text"),
        (lambda root: (root / "test/1.tar").unlink(), "1 of 2 shards are missing"),
        (lambda root: (root / "test/1.tar").write_bytes(b"no tar"), r"1\.tar: cannot be read"),
        (lambda root: (root / "classnames.txt").write_text("cat\n"), "class 2, expected 0 to 0"),
    ],
)
def test_a_damaged_folder_is_named(project, damage, message):
    write(project / "wds")
    damage(project / "wds")
    with pytest.raises(UserError, match=message) as caught:
        webdataset.open_source(params("wds"))
    assert "\n" not in str(caught.value)


def test_more_labels_than_names_are_refused_with_both_counts(project):
    """A line of classnames.txt got lost: every later class would have its neighbour's name."""
    write(project / "wds")
    (project / "wds/classnames.txt").write_text("cat\ncrane\n")
    message = "classnames.txt has 2 names, the labels here need 3$"
    with pytest.raises(UserError, match=message):
        webdataset.open_source(params("wds"))


def test_an_image_without_a_class_is_named(project):
    write(project / "wds")
    with tarfile.open(project / "wds/test/0.tar", "a") as tar:
        add(tar, "lonely.png", encode(Image.new("RGB", (40, 40)), "PNG"))
    with pytest.raises(UserError, match="image lonely: class no .cls file"):
        webdataset.open_source(params("wds"))


# --- shards as people have them -----------------------------------------------------------


def rewritten(shard: Path, change: Callable[[str, bytes], bytes | None]) -> None:
    """Write a shard again with `change(name, content)` for each member's content; None: without."""
    with tarfile.open(shard) as tar:
        members = [(m.name, tar.extractfile(m).read()) for m in tar.getmembers()]
    with tarfile.open(shard, "w") as tar:
        for name, content in members:
            if (changed := change(name, content)) is not None:
                add(tar, name, changed)


def labelled(root: Path, label: str | None) -> None:
    """Write the set, with this text as the label of the first image; None: it has none."""
    write(root)
    content = None if label is None else label.encode()
    rewritten(root / "test/0.tar", lambda name, old: content if name == "s0000.cls" else old)


def labels_by_source(**changes: object) -> dict[str, int]:
    source = webdataset.open_source(params("wds", **changes))
    return {item.source.removeprefix("test/0.tar/"): item.label for item in source.items}


@pytest.mark.parametrize("layout", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_hidden_members_are_left_out_and_counted(project, layout):
    write(project / "wds")
    expected = packed("w")
    picture = encode(Image.new("RGB", (40, 40)), "PNG")
    stray = ["._s0000.webp", "._s0000.cls", ".DS_Store", "__MACOSX/._s0000.webp", "./.hidden/a.png",
             "PaxHeaders.12/s0000.webp", "@eaDir/s0000.webp"]  # fmt: skip
    with tarfile.open(project / "wds/test/0.tar", "a", format=layout) as tar:
        for name in stray:
            add(tar, name, picture)
        folder = tarfile.TarInfo("folder.png")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        long = tarfile.TarInfo("s" * (90 if layout == tarfile.USTAR_FORMAT else 200) + ".txt")
        if layout == tarfile.PAX_FORMAT:
            long.pax_headers = {"SCHILY.xattr.user": "é" * 500}
        tar.addfile(long)
    images = packed("hidden")
    np.testing.assert_array_equal(images.pixels, expected.pixels)
    assert images.labels.tolist() == expected.labels.tolist()
    summary = json.loads((IMAGES / "hidden/summary.json").read_text())
    left_out = {"count": 7, "first": "test/0.tar/._s0000.webp"}
    assert summary["left_out"] == {"hidden members of shards": left_out}
    assert "left_out" not in json.loads((IMAGES / "w/summary.json").read_text())


def test_a_hard_link_is_the_image_it_links_to_and_other_links_are_counted(project):
    """tar stores a file of two names once, and links kept as links hold no image."""
    write(project / "wds")
    packed("w")
    with tarfile.open(project / "wds/test/0.tar", "a") as tar:
        for name, kind, target in [
            ("again.webp", tarfile.LNKTYPE, "s0000.webp"),
            ("again.cls", tarfile.LNKTYPE, "s0000.cls"),
            ("dangling.webp", tarfile.LNKTYPE, "none.webp"),
            ("symbolic.webp", tarfile.SYMTYPE, "../pictures/s0000.webp"),
            ("symbolic.cls", tarfile.SYMTYPE, "../pictures/s0000.cls"),
        ]:
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, target
            tar.addfile(link)
    labels = labels_by_source()
    assert labels["again"] == labels["s0000"]
    assert not {"dangling", "symbolic"} & set(labels)
    images = packed("linked")
    sources = [item.source for item in webdataset.open_source(params("wds")).items]
    first, again = (sources.index(f"test/0.tar/{key}") for key in ("s0000", "again"))
    np.testing.assert_array_equal(images.pixels[again], images.pixels[first])
    links = {"count": 2, "first": "test/0.tar/dangling.webp"}
    summary = json.loads((IMAGES / "linked/summary.json").read_text())
    assert summary["left_out"] == {"members of shards that are links elsewhere or sparse": links}


@pytest.mark.parametrize(
    "label",
    ["2", "2.0", "002", " 2\n", "\ufeff2", '"2"', '{"label": 2}', '{"cls": 2.0, "id": 9}', "+2",
     "crane", " crane\n", '{"class": "crane"}'],
)  # fmt: skip
def test_a_label_is_read_as_people_write_it(project, label):
    labelled(project / "wds", label)
    assert labels_by_source()["s0000"] == 2


@pytest.mark.parametrize(
    ("label", "shown"),
    [("dog", "dog"), ("2.5", "2.5"), ("true", "true"), ("null", "null"), ("", ""), ("[2]", "[2]"),
     ("1_0", "1_0"), ("{}", "{}"), ("x" * 99, "x" * 40), ("nan", "nan"), ("a\nb", "a b")],
)  # fmt: skip
def test_a_label_that_is_none_is_named(project, label, shown):
    labelled(project / "wds", label)
    with pytest.raises(UserError) as caught:
        webdataset.open_source(params("wds"))
    message = str(caught.value)
    assert f"0.tar: s0000.cls: label '{shown}' is no number of a class, 0 to 2" in message
    assert "\n" not in message


def test_a_name_of_two_classes_is_no_label(project):
    labelled(project / "wds", "crane")
    (project / "wds/classnames.txt").write_text("cat\ncrane\ncrane\n")
    with pytest.raises(UserError, match=r"s0000\.cls: label 'crane' is no number of a class"):
        webdataset.open_source(params("wds"))


@pytest.mark.parametrize("about", ['{"label": 2, "url": "x"}', '{"class": "crane"}'])
def test_a_label_may_stand_in_a_json_file_instead(project, about):
    labelled(project / "wds", None)
    with tarfile.open(project / "wds/test/0.tar", "a") as tar:
        add(tar, "s0000.json", about.encode())
        add(tar, "s0001.json", b'{"label": 1}')  # beside a .cls, which counts
        add(tar, "about.json", b"not JSON")
    labels = labels_by_source()
    assert (labels["s0000"], labels["s0001"]) == (2, 0)


@pytest.mark.parametrize("about", ['{"caption": "a crane"}', "3", "["])
def test_a_json_file_about_other_things_is_no_label(project, about):
    labelled(project / "wds", None)
    with tarfile.open(project / "wds/test/0.tar", "a") as tar:
        add(tar, "s0000.json", about.encode())
    with pytest.raises(UserError, match=r"image s0000: class no \.cls file"):
        webdataset.open_source(params("wds"))


def test_names_and_templates_are_read_without_what_nobody_sees(project):
    root = project / "wds"
    write(root)
    names = "\ufeffcat\r\npolar\u00a0bear \r\ncrane\r\n\r\n"
    (root / "classnames.txt").write_bytes(names.encode())
    (root / "zeroshot_classification_templates.txt").write_bytes(b"\xef\xbb\xbf{c}\r\n")
    (root / "test/nshards.txt").write_bytes(b"\xef\xbb\xbf2\r\n")
    source = webdataset.open_source(params("wds"))
    assert [entry.name for entry in source.classes] == ["cat", "polar bear", "crane"]
    assert source.templates == ["{}"]
    (root / "classnames.txt").write_text("cat\n\npolar bear\ncrane\n")
    with pytest.raises(UserError, match=r"classnames\.txt: line 2 is empty, and a label is the nu"):
        webdataset.open_source(params("wds"))
    (root / "classnames.txt").write_text("cat\n", encoding="utf-16")
    with pytest.raises(UserError, match=r"classnames\.txt: is UTF-16"):
        webdataset.open_source(params("wds"))


def test_a_class_without_images_is_a_distractor_where_that_is_asked_for(project):
    write(project / "wds", labels=((2, 0), (1, 0, 2)))
    (project / "wds/test/1.tar").unlink()  # the only shard with class 1
    with pytest.raises(UserError, match=r"1\.tar: not found, 1 of 2 .*partial: true to take what"):
        webdataset.open_source(params("wds"))
    (project / "wds/test/nshards.txt").write_text("1")
    with pytest.raises(UserError, match=r"class '1' has no image; .*partial: true"):
        webdataset.open_source(params("wds"))
    for count in ("1", "2"):
        (project / "wds/test/nshards.txt").write_text(count)
        images = packed("w", partial=True)
        assert [entry.name for entry in images.classes] == ["cat", "polar bear", "crane"]
        assert images.labels.tolist() == [0, 2]
    summary = json.loads((IMAGES / "w/summary.json").read_text())
    assert summary["notes"] == [
        "1 of 3 classes have no image in the shards that are there, and are distractors: polar bear"
    ]
    assert summary["images_per_class"]["minimum"] == 0
    (project / "wds/test/0.tar").unlink()
    with pytest.raises(UserError, match=r"0\.tar: not found, 2 of 2 shards are missing$"):
        webdataset.open_source(params("wds", partial=True))


def test_a_class_whose_images_are_all_unreadable_is_no_distractor(project):
    write(project / "wds", labels=((2, 0),))
    shard = project / "wds/test/0.tar"
    rewritten(shard, lambda name, content: b"torn" if name == "s0001.webp" else content)
    (project / "wds/test/nshards.txt").write_text("1")
    source = webdataset.open_source(params("wds", partial=True))
    with pytest.raises(UserError, match="no image of class '0' can be read"):
        pack(source, "w", IMAGES / "w", CLASSES / "w.parquet", "drop")


class FakeHub:
    """dataset_info and snapshot_download, serving a folder of this machine."""

    def __init__(self, folder: Path):
        self.folder, self.asked = folder, []

    def dataset_info(self, repository, files_metadata):
        files = [p for p in self.folder.rglob("*") if p.is_file()]
        return SimpleNamespace(sha="abc", siblings=[self.sibling(p) for p in files])

    def sibling(self, path: Path):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        lfs = SimpleNamespace(sha256=digest) if path.suffix == ".tar" else None
        return SimpleNamespace(rfilename=path.relative_to(self.folder).as_posix(), lfs=lfs)

    def download(self, repository, *, local_dir, revision, **kinds):
        self.asked.append((repository, revision, kinds["repo_type"]))
        for path in (p for p in self.folder.rglob("*") if p.is_file()):
            target = local_dir / path.relative_to(self.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())


@pytest.fixture
def hub(project, monkeypatch):
    write(project / "remote")
    fake = FakeHub(project / "remote")
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: fake)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake.download)
    return fake


def allow(downloads: bool) -> None:
    Path("params.yaml").write_text(f"data: {{root: null, download: {str(downloads).lower()}}}\n")


def test_a_hub_set_is_fetched_once_if_params_allow_it(hub):
    allow(False)
    with pytest.raises(UserError, match="hf download --repo-type dataset org/set"):
        webdataset.open_source(params("hf:org/set"))
    assert hub.asked == []
    allow(True)
    for _ in range(2):
        assert len(webdataset.open_source(params("hf:org/set")).items) == 5
    assert hub.asked == [("org/set", "abc", "dataset")]


def test_a_first_try_of_a_hub_set_fetches_nothing_more(hub, project):
    """People get a shard by hand, and ask for what is there."""
    allow(True)
    folder = project / "webdataset/org--set"
    shutil.copytree(project / "remote", folder)
    (folder / "test/1.tar").unlink()
    assert len(webdataset.open_source(params("hf:org/set", partial=True)).items) == 2
    assert hub.asked == []
    assert len(webdataset.open_source(params("hf:org/set")).items) == 5


def test_a_shard_that_is_not_the_hubs_is_refused_and_removed(hub, monkeypatch, project):
    allow(True)

    def torn(*args, local_dir, **kinds):
        hub.download(*args, local_dir=local_dir, **kinds)
        (local_dir / "test/0.tar").write_bytes(b"torn")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", torn)
    with pytest.raises(UserError, match=r"0\.tar: its sha256 is not the hub's"):
        webdataset.open_source(params("hf:org/set"))
    assert not (project / "webdataset/org--set/test/0.tar").exists()
    assert not (project / "webdataset/org--set/.test.complete").exists()
