"""Small real things for the tests: a tiny CLIP in the real on-disk form, a tiny packed set."""

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from open_clip.model import CLIP
from PIL import Image

from pipeline.clip import model as clip
from pipeline.clip.device import VARIABLE, enable_determinism
from pipeline.datasets import imagefolder
from pipeline.prepare.pack import pack
from tests.support import checkout
from tests.support.launches import SLURM
from tests.support.report_inputs import make_tree

SIZE, CLASSES = 16, 3
MODEL_CFG = {
    "embed_dim": 16,
    "vision_cfg": {
        "image_size": SIZE,
        "patch_size": 4,
        "width": 32,
        "layers": 2,
        "head_width": 16,
    },
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


def pytest_configure(config: pytest.Config) -> None:
    checkout.watch()
    # two workers share two cores; more threads than cores make both slow
    torch.set_num_threads(1)


# files of minutes, most of them by the real dvc: begun last, one would run alone at the end
LONGEST = (
    "stages/test_pipeline_run.py",
    "stages/test_sharing.py",
    "stages/test_every_plugin_runs.py",
    "benchmarks/test_acceptance.py",
    "stages/test_models_run.py",
    "benchmarks/test_benchmark.py",
    "evaluation/test_devices.py",
    "saft/test_check.py",
    "distributed/test_distributed.py",
    "repository/test_profiles.py",
    "saft/test_check_fuzz.py",
    "saft/test_export_onnx.py",
    "training/test_validation.py",
)


def pytest_collection_finish(session: pytest.Session) -> None:
    """What is imported by now stays: no search for garbage, seconds in torch's modules, sees it."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get("/".join(item.path.parts[-2:]), len(order)))
    if torch.cuda.is_available():
        return
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device; torch sees none"))


@pytest.fixture(autouse=True)
def users_files_stay_closed(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a run or `saft use` has left in this checkout decides no test: none may open it."""
    checkout.opened.clear()
    yield
    if "reads_checkout" not in request.keywords:
        assert checkout.opened == [], "of the user; see tests/support/project.py: DEMO"


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[torch.device]:
    """Where a test computes, stages too: the CPU, and a CUDA device where torch sees one; with
    the deterministic kernels of the stages and without TF32."""
    before = torch.are_deterministic_algorithms_enabled()
    monkeypatch.setenv(VARIABLE, request.param)
    enable_determinism()
    yield torch.device(request.param)
    torch.use_deterministic_algorithms(before)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with what the report reads, made up (`report_inputs.make_tree`)."""
    make_tree(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained open_clip folder; inputs of 16 x 16 pixels, a 4 x 4 patch grid."""
    torch.manual_seed(0)
    model = CLIP(**MODEL_CFG)
    # a fresh model's patch features are nearly constant: spread them
    torch.nn.init.normal_(model.visual.conv1.weight, std=0.5)
    folder = tmp_path_factory.mktemp("clip") / "model"
    config = {"model_cfg": MODEL_CFG, "preprocess_cfg": clip.preprocess_config(size=SIZE)}
    clip.save(model, config, folder)
    return folder


@pytest.fixture
def class_folders(tmp_path: Path) -> Path:
    """Three class folders of five PNGs each, one of them greyscale."""
    root = tmp_path / "raw"
    rng = np.random.default_rng(0)
    for label in range(CLASSES):
        folder = root / f"n{label:02d}"
        folder.mkdir(parents=True)
        for number in range(5):
            pixels = rng.integers(0, 256, size=(20, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    Image.fromarray(pixels[..., 0]).save(folder / "grey.png")
    return root


def folder_params(root: Path, **changes: object) -> imagefolder.Params:
    """Params of an `imagefolder` set at `root`."""
    values = {
        "source": "imagefolder",
        "root": str(root),
        "names": None,
        "classes": None,
        "images_per_class": None,
        "skip": 0,
        "size": SIZE,
        "resize": "stretch",
    }
    return imagefolder.Params.model_validate(values | changes)


@pytest.fixture
def packed(class_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The class folders packed as set "tiny" in an empty folder, which becomes current."""
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    source = imagefolder.open_source(folder_params(class_folders))
    pack(source, "tiny", Path("data/images/tiny"), Path("data/classes/tiny.parquet"))
    return project


@pytest.fixture
def data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data root for miniatures of published data sets, without any network."""
    from tests.support.dataset_fixtures import enter_project  # with torchvision: only where needed

    return enter_project(tmp_path, monkeypatch)


@pytest.fixture
def write_dataset(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Writes the miniature of a case of `dataset_fixtures.WRITERS` into the data root."""
    from tests.support.dataset_fixtures import WRITERS

    return lambda case: WRITERS[case](data_root, monkeypatch)


@pytest.fixture
def trainable(packed: Path, clip_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all that the finetune stage reads but params.yaml; 16 images, 3 classes."""
    from tests.support.trainable import write_inputs  # the environment of vLLM cannot import it

    monkeypatch.setenv("SAFT_DEVICE", "cpu")
    monkeypatch.delenv("DVC_ROOT", raising=False)
    write_inputs(clip_folder)
    return packed


@pytest.fixture
def srun(tmp_path: Path) -> str:
    """A stand-in for Slurm's srun."""
    script = tmp_path / "srun"
    script.write_text(SLURM)
    script.chmod(0o755)
    return str(script)
