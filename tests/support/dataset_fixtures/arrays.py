"""Data sets whose images lie in one file: pickles, raw binaries, HDF5."""

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import CIFAR10, CIFAR100, PCAM, STL10

from tests.support.dataset_fixtures.base import Miniature, Pairs, by_label, md5, noise, write

TEN = ("airplane", "automobile", "bird", "cat", "deer",
       "dog", "frog", "horse", "ship", "truck")  # fmt: skip
STL_TEN = ("airplane", "bird", "car", "cat", "deer",
           "dog", "horse", "monkey", "ship", "truck")  # fmt: skip
_HUNDRED = (
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus "
    "butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach "
    "couch crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster "
    "house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree "
    "motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear "
    "pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket "
    "rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar "
    "sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip "
    "turtle wardrobe whale willow_tree wolf woman worm"
)
HUNDRED = tuple(_HUNDRED.split())


def blocks(labels: Sequence[int], side: int, seed: int) -> np.ndarray:
    """uint8 (N, side, side, 3)."""
    return np.stack([noise(seed + number, side, side) for number in range(len(labels))])


def result(
    source: str,
    split: str,
    ids: Sequence[str],
    names: Sequence[str],
    labels: Sequence[int],
    pixels: np.ndarray,
    reference: Any,
) -> Miniature:
    """What is expected of images that lie in one array."""
    order = by_label(labels)

    def pairs() -> Pairs:
        dataset = reference()
        return [(dataset[i][0], ids[dataset[i][1]]) for i in range(len(dataset))]

    return Miniature(
        source, split, ids, names, [labels[i] for i in order], [f"{split}/{i}" for i in order],
        [Image.fromarray(pixels[i]) for i in order], {}, pairs,
    )  # fmt: skip


def _pickle(folder: Path, name: str, value: dict[str, Any]) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(pickle.dumps(value, protocol=2))
    return md5(folder / name)


def _rows(pixels: np.ndarray) -> np.ndarray:
    # CIFAR: 1024 red values row by row, then green, then blue
    return pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)


def cifar10(root: Path, patch: pytest.MonkeyPatch, split: str = "test") -> Miniature:
    """cifar-10-batches-py with twelve test images and two in each of five training batches."""
    folder = root / CIFAR10.base_folder
    labels = {"test": [3, 9, 0, 1, 2, 4, 5, 6, 7, 8, 3, 0], "train": [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]}
    pixels = {
        name: blocks(split_labels, 32, len(split_labels)) for name, split_labels in labels.items()
    }
    parts = {f"data_batch_{n + 1}": ("train", slice(2 * n, 2 * n + 2)) for n in range(5)}
    parts["test_batch"] = ("test", slice(None))
    sums = {
        name: _pickle(folder, name, {
            "batch_label": name, "labels": labels[of][part], "data": _rows(pixels[of][part]),
            "filenames": [f"{i}.png" for i in range(len(labels[of][part]))],
        })
        for name, (of, part) in parts.items()
    }  # fmt: skip
    meta = _pickle(folder, "batches.meta", {"label_names": list(TEN), "num_vis": 3072})
    _patch_cifar(patch, CIFAR10, sums, meta)
    return result(
        "cifar10", split, TEN, TEN, labels[split], pixels[split],
        lambda: CIFAR10(root, train=split == "train"),
    )  # fmt: skip


def cifar100(root: Path, patch: pytest.MonkeyPatch) -> Miniature:
    """cifar-100-python with an image of each of the hundred classes, last class first."""
    folder, labels = root / CIFAR100.base_folder, list(range(99, -1, -1))
    pixels = blocks(labels, 32, 7)
    sums = {
        name: _pickle(folder, name, {
            "fine_labels": labels, "coarse_labels": [label % 20 for label in labels],
            "data": _rows(pixels if name == "test" else pixels[::-1]), "batch_label": name,
        })
        for name in ("train", "test")
    }  # fmt: skip
    names = {"fine_label_names": HUNDRED, "coarse_label_names": ["things"] * 20}
    _patch_cifar(patch, CIFAR100, sums, _pickle(folder, "meta", names))
    plain = [name.replace("_", " ") for name in HUNDRED]
    return result("cifar100", "test", HUNDRED, plain, labels, pixels,
                  lambda: CIFAR100(root, train=False))  # fmt: skip


def _patch_cifar(patch: pytest.MonkeyPatch, kind: Any, sums: dict[str, str], meta: str) -> None:
    for part in ("train_list", "test_list"):
        patch.setattr(kind, part, [[name, sums[name]] for name, _ in getattr(kind, part)])
    patch.setattr(kind, "meta", kind.meta | {"md5": meta})


def stl10(root: Path, patch: pytest.MonkeyPatch, split: str = "test") -> Miniature:
    """stl10_binary: labels from 1, the pixels of a channel column by column."""
    folder = root / STL10.base_folder
    labels = {"train": [9, 8, 7, 6, 5, 4, 3, 2, 1, 0], "test": [0, 9, 1, 8, 2, 7, 3, 6, 4, 5, 5]}
    pixels = {
        name: blocks(split_labels, 96, 3 * len(split_labels))
        for name, split_labels in labels.items()
    }
    pixels["unlabeled"] = blocks([0, 0], 96, 0)
    write(folder, "class_names.txt", *STL_TEN)
    write(folder, "fold_indices.txt", *["0 1"] * 10)
    for name, values in pixels.items():
        (folder / f"{name}_X.bin").write_bytes(values.transpose(0, 3, 2, 1).tobytes())
    for name, split_labels in labels.items():
        (folder / f"{name}_y.bin").write_bytes(bytes(label + 1 for label in split_labels))
    for part in ("train_list", "test_list"):
        files = [name for name, _ in getattr(STL10, part)]
        patch.setattr(STL10, part, [[name, md5(folder / name)] for name in files])
    return result("stl10", split, STL_TEN, STL_TEN, labels[split], pixels[split],
                  lambda: STL10(root, split=split))  # fmt: skip


def pcam(root: Path, patch: pytest.MonkeyPatch, split: str = "test") -> Miniature:
    """HDF5 files, labels of shape (N, 1, 1, 1); the validation files say "valid"."""
    labels = [1, 0, 0, 1, 1]
    pixels = blocks(labels, 96, len(split))
    (root / "pcam").mkdir(exist_ok=True)
    stem = root / f"pcam/camelyonpatch_level_2_split_{'valid' if split == 'val' else split}"
    with h5py.File(f"{stem}_x.h5", "w") as file:
        file["x"] = pixels
    with h5py.File(f"{stem}_y.h5", "w") as file:
        file["y"] = np.array(labels, dtype=np.uint8).reshape(-1, 1, 1, 1)
    names = ["healthy lymph node tissue", "lymph node tumor tissue"]
    return result("pcam", split, ["0", "1"], names, labels, pixels,
                  lambda: PCAM(root, split=split))  # fmt: skip
