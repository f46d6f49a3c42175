"""WebDataset shards: indexed, decoded out of the tar, streamed, fetched with a checksum."""

import hashlib
import io
import shutil
import tarfile
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
