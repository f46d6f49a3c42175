"""The stage `names`: an unknown name of params.yaml is one line before anything runs."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.common.params import read_value
from pipeline.results.matrix import MATRIX
from stages import names
from tests.support.dvc_stages import ROOT_FILE, STAGES_OF
from tests.support.failures import fails, one_line
from tests.support.tiny_project import write_params

SET = {"source": "imagefolder", "root": "there", "size": 16}


def write(folder: Path, **changes: object) -> None:
    """The demo's params.yaml, about a set "tiny" that it defines."""
    known = {"prepare.sets": {"tiny": SET}, "describe.dataset": "tiny", "pretrain": {}}
    known |= {"confusions.text": {"names": {}}, "confusions.images": {"photos": {}}}
    write_params(folder, **known | changes)


def test_what_is_defined_passes_and_the_same_is_written_for_all_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts = {"evaluate.texts": ["template", "descriptions"], "evaluate.attacker": "same"}
    write(tmp_path, **texts, **{"exemplars": {"near": {}}, "describe.exemplars": "near"})
    names.main()
    first = names.CHECKED.read_bytes()
    write(tmp_path, **texts, **{"describe.confusions": "photos"})
    names.main()
    assert names.CHECKED.read_bytes() == first
    files = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()}
    assert files - {"params.yaml"} == {str(names.CHECKED)}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("prepare.sets", {"tiny": SET, "x": {"source": "magic"}},
         "prepare.sets.x.source: 'magic' is not one of caltech101"),
        ("models.base.source", "magic", "models.base.source: 'magic' is not one of checkpoint"),
        ("describe.backend", "magic", "describe.backend: 'magic' is not one of bundled"),
        ("finetune.method", "magic", "finetune.method: 'magic' is not one of agft"),
        ("evaluate.attacks", ["pgd", "magic"], "evaluate.attacks: 'magic' is not one of apgd_ce"),
        ("describe.exemplars", "magic", "describe.exemplars: 'magic' is not one of none"),
        ("describe.confusions", "magic",
         "describe.confusions: 'magic' is not one of none, names, photos"),
        ("confusions.images", {"names": {}}, "confusions: 'names' is in text and in images"),
        ("confusions", {"text": {}}, "'confusions.images' is missing"),
        ("pretrain", {"small": {"dataset": "magic"}},
         "pretrain.small.dataset: 'magic' is not one of tiny"),
        ("describe.dataset", "magic", "describe.dataset: 'magic' is not one of tiny"),
        ("finetune.dataset", "magic", "finetune.dataset: 'magic' is not one of tiny"),
        ("finetune.validation.dataset", "magic",
         "finetune.validation.dataset: 'magic' is not one of tiny, none"),
        ("evaluate.datasets", ["tiny", "magic"], "evaluate.datasets: 'magic' is not one of tiny"),
        ("evaluate.checks.datasets", ["magic"],
         "evaluate.checks.datasets: 'magic' is not one of tiny"),
        ("evaluate.texts", ["magic"], "evaluate.texts: 'magic' is not one of template"),
        ("evaluate.texts", ["same"], "evaluate.texts: 'same' is not one of template"),
        ("evaluate.attacker", "magic", "evaluate.attacker: 'magic' is not one of template"),
        ("evaluate.models", ["base", "magic"],
         "evaluate.models: 'magic' is not one of base, finetuned"),
    ],
)  # fmt: skip
def test_an_unknown_name_is_one_line_with_the_known_ones(
    tmp_path, monkeypatch, capsys, key, value, message
):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, **{key: value})
    assert fails(names.main) == 1
    assert f"params.yaml: {message}" in one_line(capsys)


@pytest.mark.parametrize("key", MATRIX)
def test_what_is_named_twice_is_refused(tmp_path, monkeypatch, capsys, key):
    """DVC makes one stage of each name, so that the second would count for nothing."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    first = read_value(key, list[Any])[0] if read_value(key, list[Any]) else "tiny"
    write(tmp_path, **{key: [first, first]})
    assert fails(names.main) == 1
    assert f"params.yaml: {key} names {first} 2 times; once is enough" in one_line(capsys)
    assert not names.CHECKED.exists()


TWICE = "finetune.validation.dataset: 'held' is in {} too; what is validated on is neither"


@pytest.mark.parametrize(
    "key", ["finetune.dataset", "evaluate.datasets", "evaluate.checks.datasets"]
)
def test_a_validation_set_is_used_for_nothing_else(tmp_path, monkeypatch, capsys, key):
    monkeypatch.chdir(tmp_path)
    validated = {"prepare.sets": {"tiny": SET, "held": SET}, "finetune.validation.dataset": "held"}
    write(tmp_path, **validated)
    names.main()
    capsys.readouterr()
    value = "held" if key == "finetune.dataset" else ["tiny", "held"]
    write(tmp_path, **validated, **{key: value})
    assert fails(names.main) == 1
    assert f"params.yaml: {TWICE.format(key)}" in one_line(capsys)
    if key != "finetune.dataset":
        write(tmp_path, **validated, **{key: value, "evaluate.models": ["base"]})
        names.main()


def test_dvc_begins_with_it():
    assert next(iter(STAGES_OF[ROOT_FILE])) == "names"
