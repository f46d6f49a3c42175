"""Every published data set with a handful of images, in the very form in which it lies on disk."""

from tests.support.dataset_fixtures import arrays, foldered, listed
from tests.support.dataset_fixtures.base import (
    Miniature,
    enter_project,
    open_miniature,
    open_set,
    shuffle_disk,
)

WRITERS = {
    "cifar10": arrays.cifar10,
    "cifar10 train": lambda root, patch: arrays.cifar10(root, patch, "train"),
    "cifar100": arrays.cifar100,
    "stl10": arrays.stl10,
    "stl10 train": lambda root, patch: arrays.stl10(root, patch, "train"),
    "pcam": arrays.pcam,
    "pcam val": lambda root, patch: arrays.pcam(root, patch, "val"),
    "sun397": listed.sun397,
    "food101": listed.food101,
    "oxford_pets": listed.oxford_pets,
    "flowers102": listed.flowers102,
    "dtd": listed.dtd,
    "fgvc_aircraft": listed.fgvc_aircraft,
    "stanford_cars": listed.stanford_cars,
    "stanford_cars train": lambda root, patch: listed.stanford_cars(root, patch, "train"),
    "eurosat": foldered.eurosat,
    "caltech101": foldered.caltech101,
    "caltech256": foldered.caltech256,
    "country211": foldered.country211,
    "country211 valid": lambda root, patch: foldered.country211(root, patch, "valid"),
    "tiny_imagenet stock": foldered.tiny_stock,
    "tiny_imagenet regrouped": foldered.tiny_regrouped,
    "tiny_imagenet train": foldered.tiny_train,
    "imagenet val": foldered.imagenet_val,
    "imagenet train": foldered.imagenet_train,
    "imagenet_a": foldered.imagenet_a,
    "imagenet_r": foldered.imagenet_r,
    "imagenet_o": foldered.imagenet_o,
    "imagenet_v2": foldered.imagenet_v2,
    "imagenet_sketch": foldered.imagenet_sketch,
}
__all__ = ["WRITERS", "Miniature", "enter_project", "open_miniature", "open_set", "shuffle_disk"]
