"""The scene of the tests of all methods, on the CPU or wherever torch computes."""

from pathlib import Path

import pytest
import torch

from tests.methods.scene import Scene, make_scene
from tests.support.training_runs import CPU


@pytest.fixture
def scene(clip_folder: Path) -> Scene:
    return make_scene(clip_folder, CPU)


@pytest.fixture
def device_scene(clip_folder: Path, device: torch.device) -> Scene:
    return make_scene(clip_folder, device)
