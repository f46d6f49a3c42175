"""`saft info`: everything that is registered, as text and as JSON."""

import json

import pytest
from typer.testing import CliRunner

from pipeline import registry
from stages.cli import app
from stages.info_cli import PLUGINS
from tests.project import ROOT


@pytest.fixture(autouse=True)
def project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def info(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["info", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_text_and_json_name_everything_registered() -> None:
    text, found = info(), json.loads(info("--json"))
    for heading, package in PLUGINS.items():
        names = registry.names(package)
        assert names
        assert sorted(found[heading]) == names
        for name in names:
            assert f"\n  {name} " in text, name
            assert len(found[heading][name]["about"]) > 10, name
    assert set(found["image sets"]) > {"shapes-train", "digits"}
    assert found["device"]["used"] in ("cpu", "cuda")


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
