"""`saft info`: everything that is registered, as text and as JSON."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.common import registry
from saft.app import app
from saft.inventory import PLUGINS
from tests.support.project import DEMO, ROOT


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the demo's params.yaml and this project's prompt sets."""
    shutil.copy(DEMO, tmp_path / "params.yaml")
    shutil.copytree(ROOT / "data/prompts", tmp_path / "data/prompts")
    monkeypatch.chdir(tmp_path)


def info(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["info", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_text_and_json_name_everything_registered() -> None:
    text, inventory = info(), json.loads(info("--json"))
    for heading, package in PLUGINS.items():
        names = registry.names(package)
        assert names
        assert sorted(inventory[heading]) == names
        for name in names:
            assert f"\n  {name} " in text, name
            assert len(inventory[heading][name]["about"]) > 10, name
    assert set(inventory["image sets"]) > {"shapes-train", "digits"}
    assert inventory["models"] == {"base": "pretrain, not there yet"}
    assert inventory["device"]["used"] in ("cpu", "cuda")


def test_methods_tell_what_they_were_published_with_and_take() -> None:
    methods = json.loads(info("--json"))["methods"]
    fare = methods["fare"]["published"]
    assert fare["optimiser"] == "adamw"
    assert fare["learning_rate"] == 1e-5
    assert fare["attack"]["steps"] == 10
    assert methods["ft_clean"]["published"]["attack"] is None
    assert "variant" in methods["pmg_aft"]["options"]


def test_attacks_are_named_as_papers_do() -> None:
    attacks = json.loads(info("--json"))["attacks"]
    assert attacks["autoattack"]["title"] != attacks["autoattack_ce_dlr"]["title"]
    assert {"steps", "step_255", "restarts"} <= set(attacks["pgd"]["options"])


PUBLISHED = {
    "tiny_imagenet", "imagenet", "cifar10", "cifar100", "stl10", "sun397", "food101", "oxford_pets",
    "flowers102", "dtd", "eurosat", "fgvc_aircraft", "caltech101", "caltech256", "stanford_cars",
    "pcam", "country211", "imagenet_a", "imagenet_r", "imagenet_o", "imagenet_v2",
    "imagenet_sketch",
}  # fmt: skip


def test_every_published_data_set_comes_with_its_facts() -> None:
    sources = json.loads(info("--json"))["data set sources"]
    assert {name for name, source in sources.items() if "facts" in source} == PUBLISHED
    for name in PUBLISHED:
        facts = sources[name]["facts"]
        split = facts["splits"][facts["split"]]
        assert split["images"] >= split["classes"] >= 2, name
        assert facts["licence"], name
        assert facts["citation"], name
        assert facts["disk_gb"] > 0, name
        assert facts["commands"] or facts["manual"], name
        assert all("{}" in template for template in facts["templates"]), name
    assert sources["pcam"]["facts"]["splits"]["test"]["images"] == 32_768
    assert "CIFAR-10, test: 10,000 images, 10 classes; 0.18 GB" in info()


def test_no_set_is_fetched_without_tls_and_checksum() -> None:
    sources = json.loads(info("--json"))["data set sources"]
    alone = {n for n in PUBLISHED if sources[n]["facts"]["downloads by itself"]}
    assert {"cifar10", "dtd", "pcam"} <= alone
    assert not {"stl10", "sun397", "food101", "imagenet", "fgvc_aircraft"} & alone
    for name in alone:
        for archive in sources[name]["facts"]["archives"]:
            assert archive["url"].startswith("https://"), name
            assert len(archive["md5"]) == 32, name
