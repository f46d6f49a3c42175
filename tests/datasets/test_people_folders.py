"""Image folders as people have them: what no class or image is stays out and is counted, what looks
wrong is said, and nothing is read twice."""

import json
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.common.errors import UserError
from pipeline.datasets import imagefolder
from pipeline.images.classes import read_classes
from pipeline.images.decoding import Encoded, decode
from pipeline.images.image_set import ImageSource
from pipeline.images.set_summary import note_lines
from pipeline.prepare import walking
from pipeline.prepare.pack import pack
from pipeline.prepare.summary import lines
from tests.conftest import folder_params
from tests.support.dataset_fixtures.base import noise, open_set

Image.init()


def draw(root: Path, *names: str, kind: str | None = None) -> None:
    """A picture of its own for each path below `root`."""
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(number, 30, 20)).save(root / name, kind)


@pytest.fixture
def pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes of two images below raw/pets; an empty folder is current."""
    draw(tmp_path / "raw/pets", "cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png")
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "raw/pets"


FOUR = ["cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png"]


def opened(root: Path, **changes: object) -> ImageSource:
    return imagefolder.open_source(folder_params(root, **changes))


def sources(root: Path) -> list[str]:
    return [item.source for item in opened(root).items]


def refused(root: Path, **changes: object) -> str:
    with pytest.raises(UserError) as caught:
        opened(root, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def summary_of(root: Path, **changes: object) -> dict:
    """summary.json of the packed set, whose lines are printed too."""
    folder = Path("data/images/s")
    summary = pack(opened(root, **changes), "s", folder, Path("data/classes/s.parquet"))
    assert json.loads((folder / "summary.json").read_text()) == summary
    assert [f"s: {line}" for line in note_lines(summary)] == lines("s", summary)[
        len(lines("s", summary)) - len(note_lines(summary)) :
    ]
    return summary


def test_a_folder_with_nothing_to_say_has_the_summary_it_had(pets: Path) -> None:
    (pets / "classes.tsv").write_text("cat\tcat\ndog\tdog\n")
    for name in (".DS_Store", "cat/._0.png", "cat/Thumbs.db", "dog/desktop.ini", "README.md"):
        (pets / name).write_bytes(b"x")
    assert not {"left_out", "notes"} & set(summary_of(pets))


# 1. folders that programs leave behind


@pytest.mark.parametrize("name", ["@eaDir", "__MACOSX", "lost+found", "$RECYCLE.BIN", ".git",
                                  "$Recycle.Bin", "System Volume Information", "__pycache__",
                                  ".ipynb_checkpoints", "#recycle", ".@__thumb"])  # fmt: skip
def test_folders_of_programs_are_no_classes_and_hold_no_images(pets: Path, name: str) -> None:
    before = sources(pets)
    draw(pets, f"{name}/x.png", f"cat/{name}/0.png/THUMB_M.jpg", f"dog/deep/{name}/1.png")
    draw(pets, "dog/deep/2.png")
    assert sources(pets) == [*before, "dog/deep/2.png"]
    left_out = summary_of(pets)["left_out"]
    assert left_out == {walking.FOLDERS: {"count": 3, "first": min(name, f"cat/{name}")}}


def test_the_published_sets_leave_them_out_too(data_root: Path, write_dataset) -> None:
    """Those that torchvision would have walked through as well."""
    for case in ("eurosat", "country211", "imagenet_r", "caltech101", "tiny_imagenet regrouped"):
        miniature = write_dataset(case)
        folder = (data_root / miniature.sources[0]).parent
        if case == "tiny_imagenet regrouped":
            assert folder.parent.name == "val"
        draw(folder, "@eaDir/a.jpg/THUMB_M.jpg", "lost+found/b.jpg")
        draw(folder.parent, "@eaDir/c.jpg")
        (folder / "again").symlink_to(folder.parent)
        source = open_set(miniature.source, **({"split": miniature.split} | miniature.changes))
        assert [item.source for item in source.items] == list(miniature.sources), case
        counts = {kind: len(names) for kind, names in source.left_out.items()}
        assert counts == {walking.FOLDERS: 3, walking.LINKS: 1}, case


def test_the_stock_validation_folder_of_tiny_imagenet_with_thumbnails(
    data_root: Path, write_dataset
) -> None:
    miniature = write_dataset("tiny_imagenet stock")
    images = data_root / "tiny-imagenet-200/val/images"
    draw(images, "@eaDir/val_1.JPEG/THUMB.jpg", "._val_2.JPEG", kind="JPEG")
    source = open_set("tiny_imagenet", split="val")
    assert [item.source for item in source.items] == list(miniature.sources)


# 2. links that loop


def test_a_link_to_the_set_inside_a_class_is_left_out(pets: Path) -> None:
    before = sources(pets)
    for name, target in (("cat/pets", pets), ("cat/up", pets.parent.parent), ("dog/dog", "."),
                         ("dog/cat", pets / "cat"), ("cat/0", "0")):  # fmt: skip
        (pets / name).symlink_to(target)
    assert sources(pets) == before
    left_out = summary_of(pets)["left_out"]
    assert left_out[walking.LINKS] == {"count": 4, "first": "cat/pets"}


@pytest.mark.parametrize("target", [".", "..", "../.."])
def test_a_class_folder_that_holds_the_classes_is_refused_by_name(pets: Path, target: str) -> None:
    (pets / "pets").symlink_to(target)
    message = refused(pets)
    assert (
        f"pets: class 'pets' is a link to {(pets / target).resolve()}, which holds the" in message
    )
    assert sources_of_chosen(pets) == FOUR, "the other classes may be chosen"


def sources_of_chosen(root: Path) -> list[str]:
    return [item.source for item in opened(root, classes=["cat", "dog"]).items]


def test_two_classes_that_are_one_folder_are_refused(pets: Path) -> None:
    (pets / "hound").symlink_to("dog")
    assert "classes 'dog' and 'hound' are one folder" in refused(pets)
    assert sources_of_chosen(pets) == FOUR


def test_every_real_folder_is_read_once_whatever_links_to_it(pets: Path) -> None:
    """A folder elsewhere by its first link; one of the set by itself; order decides nothing."""
    elsewhere = pets.parent / "more"
    draw(elsewhere, "2.png", "deep/3.png")
    (elsewhere / "loop").symlink_to(elsewhere)
    (elsewhere / "to-dogs").symlink_to(pets / "dog")
    for link in ("cat/b", "cat/a", "dog/a"):
        (pets / link).symlink_to(elsewhere)
    (pets / "cat/sub").mkdir()
    draw(pets, "cat/sub/9.png")
    (pets / "cat/aa").symlink_to(pets / "cat/sub")
    assert sources(pets) == [
        "cat/0.png", "cat/1.png", "cat/a/2.png", "cat/a/deep/3.png", "cat/sub/9.png",
        "dog/0.png", "dog/1.png",
    ]  # fmt: skip
    assert opened(pets).left_out[walking.LINKS] == [
        "cat/a/loop", "cat/a/to-dogs", "cat/aa", "cat/b", "dog/a",
    ]  # fmt: skip


def test_class_folders_may_be_links(pets: Path) -> None:
    (pets / ".store").mkdir()
    (pets / "cat").rename(pets / ".store/7f")
    (pets / "cat").symlink_to(".store/7f")
    assert sources(pets) == FOUR


def test_a_folder_that_cannot_be_read_is_named(pets: Path, monkeypatch) -> None:
    scandir = os.scandir

    def closed(path):
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    (pets / "cat/deep").mkdir()
    monkeypatch.setattr(os, "scandir", closed)
    assert f"{pets}/cat/deep: cannot be read: permission denied" in refused(pets)


# 3. names that look like ids


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["n01440764", "n01443537"], "2 class names are wnids, which tell CLIP nothing of the "
         "class (n01440764, n01443537); display_names: wordnet or openai gives"),
        (["0", "1", "10"], "3 class names are numbers, "),
        (["class_1", "class-2"], "2 class names are numbers, "),
        (["c0", "c1", "other"], "2 class names are numbers, "),
        (["001.Black_footed_Albatross", "002.Laysan_Albatross"],
         "2 class names begin with a number or a wnid, "),
        (["n02085620-Chihuahua", "n02085782-Japanese_spaniel"], "2 class names begin with a num"),
    ],
)  # fmt: skip
def test_names_that_look_like_ids_are_said(tmp_path: Path, names: list[str], said: str) -> None:
    draw(tmp_path / "set", *(f"{name}/0.png" for name in names))
    [note] = opened(tmp_path / "set").notes
    assert note.startswith(said)
    table = "".join(f"{name}\tthing {name[::-1]} x\n" for name in names)
    (tmp_path / "set/classes.tsv").write_text(table)
    assert opened(tmp_path / "set").notes == []


@pytest.mark.parametrize("names", [["cat", "dog"], ["737", "jet", "kite"], ["3d-print", "7up"],
                                   ["n00", "n01"], ["B2", "F16A"]])  # fmt: skip
def test_names_that_are_names_are_not(tmp_path: Path, names: list[str]) -> None:
    draw(tmp_path / "set", *(f"{name}/0.png" for name in names))
    assert opened(tmp_path / "set").notes == []


@pytest.mark.parametrize(
    ("display_names", "names"),
    [
        ("wordnet", ["goldfish", "crane bird", "construction crane"]),
        ("openai", ["goldfish", "crane bird", "construction crane"]),
        ("after_id", ["n01443537", "crane bird", "n03126707"]),
    ],
)
def test_wnids_take_imagenets_names_by_one_key(
    tmp_path: Path, display_names: str, names: list[str]
) -> None:
    folders = ["n01443537", "n02012849_crane_bird", "n03126707"]
    draw(tmp_path / "set", *(f"{name}/0.png" for name in folders))
    source = opened(tmp_path / "set", display_names=display_names)
    assert [entry.class_id for entry in source.classes] == folders, "the id stays the folder's name"
    assert [entry.name for entry in source.classes] == names
    assert len(source.notes) == (display_names == "after_id")


def test_a_leading_number_is_dropped_by_one_key(tmp_path: Path) -> None:
    folders = ["001.Black_footed_Albatross", "17 - dog", "2-3D_printer", "n02085620-Chihuahua"]
    draw(tmp_path / "set", *(f"{name}/0.png" for name in folders))
    source = opened(tmp_path / "set", display_names="after_id")
    assert [entry.class_id for entry in source.classes] == folders
    assert [entry.name for entry in source.classes] == [
        "Black footed Albatross", "dog", "2 3D printer", "Chihuahua",
    ]  # fmt: skip
    assert source.notes == []


def test_a_table_names_first_and_the_key_the_rest(tmp_path: Path) -> None:
    draw(tmp_path / "set", "n01443537/0.png", "n99999999/0.png")
    message = refused(tmp_path / "set", display_names="wordnet")
    assert "'n99999999' is no class of ImageNet-1k (1 in all)" in message
    (tmp_path / "set/classes.tsv").write_text("n99999999\tunicorn\n")
    source = opened(tmp_path / "set", display_names="wordnet")
    assert [entry.name for entry in source.classes] == ["goldfish", "unicorn"]


def test_the_key_that_has_nothing_to_drop_is_refused(pets: Path) -> None:
    assert "display_names: after_id: no class begins with a number" in refused(
        pets, display_names="after_id"
    )


# 4. the root is one level too high


@pytest.mark.parametrize("names", [("train", "val"), ("Train", "test"), ("training", "validation")])
def test_splits_are_no_classes(tmp_path: Path, names: tuple[str, str]) -> None:
    first, second = names
    draw(tmp_path / "set", f"{first}/cat/0.png", f"{first}/dog/0.png", f"{second}/cat/1.png")
    shown = ", ".join(sorted(names))
    message = refused(tmp_path / "set")
    assert f"the folders {shown} are parts of a data set, not classes" in message
    assert message.endswith(f"such as root: {tmp_path}/set/{first}")


def test_domains_with_the_same_folders_are_said(tmp_path: Path) -> None:
    draw(tmp_path / "set", *(f"{d}/{c}/0.png" for d in ("art", "photo") for c in ("cat", "dog")))
    draw(tmp_path / "set", "art/owl/0.png")
    [note] = opened(tmp_path / "set").notes
    assert note == (
        "the class folders art, photo hold no images but folders of the same names (cat, dog); if "
        f"these are the classes, take one of those, such as root: {tmp_path}/set/art"
    )


def test_folders_inside_class_folders_are_usual(tmp_path: Path) -> None:
    """One `images` in each, as Tiny-ImageNet has; different ones; splits as two real classes."""
    draw(tmp_path / "a", "n1/images/0.png", "n2/images/0.png")
    draw(tmp_path / "b", "cat/siam/0.png", "cat/manx/0.png", "dog/pug/0.png", "dog/boxer/0.png")
    draw(tmp_path / "c", "test/0.png", "train/0.png")
    assert [opened(tmp_path / name).notes for name in "abc"] == [[], [], []]


def test_one_level_too_high_with_one_folder_names_it(pets: Path) -> None:
    assert refused(pets.parent).endswith(
        f"holds 1 class folders; is it the folder *of* class folders? {pets} holds 2"
    )


# 5. endings


@pytest.mark.parametrize("name", ["a.jp2", "a.avif", "a.J2K", "a.tga", "a.apng", "a.dib", "a"])
def test_what_the_library_reads_is_read(pets: Path, name: str) -> None:
    kind = Image.registered_extensions()[Path(name).suffix.lower() or ".webp"]
    draw(pets, f"cat/{name}", kind=kind)
    assert f"cat/{name}" in sources(pets)
    assert decode(Encoded(pets / "cat" / name), 8, "stretch").pixels.shape == (3, 8, 8)
    assert "left_out" not in summary_of(pets)


def test_what_it_does_not_read_is_counted(pets: Path) -> None:
    for name in ("a.heic", "b.HEIC", "LICENSE", "c.txt", "d.0042", "e.0043"):
        (pets / "cat" / name).write_text("no image")
    draw(pets, "loose.png")
    summary = summary_of(pets)
    assert summary["images"] == 4
    assert summary["left_out"] == {
        "files ending in .heic": {"count": 2, "first": "cat/a.heic"},
        "files ending in .txt": {"count": 1, "first": "cat/c.txt"},
        "files of other endings": {"count": 2, "first": "cat/d.0042"},
        "files without an ending that are no images": {"count": 1, "first": "cat/LICENSE"},
        walking.BESIDE: {"count": 1, "first": "loose.png"},
    }
    assert "s: files ending in .heic: 2 left out, e.g. cat/a.heic" in lines("s", summary)


def test_a_class_of_such_files_alone_is_refused_with_them(pets: Path) -> None:
    for name in ("0.heic", "1.heic"):
        (pets / "owl").mkdir(exist_ok=True)
        (pets / "owl" / name).write_text("no image")
    assert refused(pets).endswith(
        "owl: class 'owl' has no image; left out are files ending in .heic (2)"
    )


# 6. a table in place of class folders


@pytest.fixture
def flat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four pictures in one folder and one below it; an empty folder is current."""
    draw(tmp_path / "flat", "0.png", "1.png", "2.png", "3.png", "deep/caf\u00e9.png")
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "flat"


def test_a_flat_folder_is_refused_with_the_layout_and_the_table_there(flat: Path) -> None:
    (flat / "deep").rename(flat.parent / "deep")
    layout = "have to be in one folder per class, flat/<class id>/0.png"
    assert refused(flat).endswith(f"holds 0 class folders; its 4 images (0.png) {layout}")
    (flat / "metadata.csv").write_text("file_name,label\n0.png,cat\n")
    assert refused(flat).endswith("if metadata.csv has the label of each, set labels: metadata.csv")


@pytest.mark.parametrize(
    "table",
    [
        "file_name,label\n1.png,dog\n0.png,cat\n2.png,dog\ndeep/caf\u00e9.png,cat\n",
        "\ufeffid;x;Breed\r\n1;;dog\r\n0;;cat\r\n2;;dog\r\ndeep\\cafe\u0301;;cat\r\n",
        'label\timage\n"dog"\t1.png\ncat\t"0.png"\n\ndog\t2.png\ncat\tdeep/cafe\u0301.png\n',
    ],
)
def test_a_table_of_labels_stands_for_class_folders(flat: Path, table: str) -> None:
    (flat / "labels.csv").write_bytes(table.encode())
    (flat / "classes.tsv").write_text("cat\thouse cat\ndog\thound\n")
    source = opened(flat, labels="labels.csv")
    assert [(item.label, item.source) for item in source.items] == [
        (0, "0.png"), (0, "deep/caf\u00e9.png"), (1, "1.png"), (1, "2.png"),
    ]  # fmt: skip
    assert [(e.class_id, e.name) for e in source.classes] == [
        ("cat", "house cat"),
        ("dog", "hound"),
    ]
    assert summary_of(flat, labels="labels.csv")["left_out"] == {
        "images that the table of labels does not list": {"count": 1, "first": "3.png"}
    }
    assert [e.name for e in opened(flat, labels="labels.csv", classes=["dog"]).classes] == ["hound"]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            "0.png,cat\n",
            "its first line has no column file_name or filename or file, only 0.png, cat",
        ),
        ("file,x\n0.png,cat\n", "has no column label or class or class_id, only file, x; rename"),
        ("", "has no column file_name"),
        ("file,label\n0.png,cat\n9.png,cat\n", "line 3: '9.png' is not in "),
        ("file,label\n0.png,cat\n0,dog\n", "line 3: '0' has a label in line 2 already"),
        ("file,label\n0.png\n", "line 2: expected a file and a label"),
        ("file,label\n../flat/0.png,cat\n", "line 2: '../flat/0.png' is not below "),
        ('file,label\n"0.png,cat\n', "line 2: expected a file and a label"),
    ],
)
def test_a_table_that_cannot_be_taken_is_named(flat: Path, table: str, said: str) -> None:
    (flat / "labels.csv").write_text(table)
    message = refused(flat, labels="labels.csv")
    assert message.startswith(f"{flat}/labels.csv: ")
    assert said in message


def test_a_table_that_is_not_there_or_not_below_the_root(flat: Path) -> None:
    assert refused(flat, labels="x.csv") == f"{flat}/x.csv: not found (labels)"
    for labels in ("../x.csv", "/x.csv"):
        assert f"labels: '{labels}' is not below {flat}" in refused(flat, labels=labels)


# 7. wide pixels


def png_of_16_bits(pixels: np.ndarray) -> bytes:
    """A PNG of uint16 (H, W, C); PIL cannot write those in colour."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    height, width, channels = pixels.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )  # fmt: skip


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(("bits", "dark"), [(10, True), (12, True), (14, True), (16, False)])
def test_narrow_data_in_wide_pixels_is_remarked_on(
    tmp_path: Path, channels: int, bits: int, dark: bool
) -> None:
    pixels = np.random.default_rng(0).integers(0, 2**bits, (20, 20, channels), dtype=np.uint16)
    if channels in (2, 4):
        pixels[..., -1] = 65535
    (tmp_path / "x.png").write_bytes(png_of_16_bits(pixels))
    remarks = decode(Encoded(tmp_path / "x.png"), 20, "native").remarks
    assert any(line.startswith("16-bit ") and "scaled to 8 bits" in line for line in remarks)
    assert any("lowest quarter of the range" in line for line in remarks) is dark


def test_a_black_image_of_16_bits_is_black(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(png_of_16_bits(np.zeros((8, 8, 1), dtype=np.uint16)))
    remarks = decode(Encoded(tmp_path / "x.png"), 8, "native").remarks
    assert remarks == ("16-bit grey scaled to 8 bits",)


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int16])
def test_integers_of_an_unknown_range_are_refused(tmp_path: Path, dtype: type) -> None:
    pixels = np.arange(64, dtype=dtype).reshape(8, 8)
    tags = {256: 8, 257: 8, 258: 8 * pixels.itemsize, 259: 1, 262: 1, 277: 1,
            339: 1 if dtype is np.uint32 else 2}  # fmt: skip
    (tmp_path / "x.tif").write_bytes(tiff(pixels.tobytes(), tags))
    with pytest.raises(ValueError, match="32-bit or signed integer pixels, save it with 8 or 16"):
        decode(Encoded(tmp_path / "x.tif"), 8, "native")


def tiff(content: bytes, tags: dict[int, int]) -> bytes:
    """A little-endian TIFF of one strip, with short tags."""
    tags = tags | {273: 8, 278: tags[257], 279: len(content)}
    entries = b"".join(struct.pack("<HHIHxx", tag, 3, 1, tags[tag]) for tag in sorted(tags))
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    return b"II*\0" + struct.pack("<I", 8 + len(content)) + content + directory


# 8. names that differ in case


def test_class_folders_that_differ_in_case_are_said(pets: Path) -> None:
    draw(pets, "Cat/0.png")
    [note] = opened(pets).notes
    assert note.startswith(
        "2 classes differ from another in case or Unicode form only (Cat, cat): their folders are "
    )
    summary_of(pets)
    assert [entry.class_id for entry in read_classes("s")] == ["Cat", "cat", "dog"]
