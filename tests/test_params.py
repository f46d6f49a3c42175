"""Params: typed, strict, YAML 1.2, one-line errors."""

from pathlib import Path

import pytest

from pipeline import options, registry
from pipeline.base_model import BaseModelParams
from pipeline.describe import DescribeParams
from pipeline.embed import EmbedParams
from pipeline.errors import UserError
from pipeline.evaluate import EvaluateParams
from pipeline.filter import FilterParams
from pipeline.finetune import FinetuneParams
from pipeline.params import read_params, read_section, read_value, validate
from pipeline.report_inputs import ReportParams

ROOT = Path(__file__).parents[1]
FILE = ROOT / "params.yaml"
SECTIONS = {
    "base_model": BaseModelParams,
    "describe": DescribeParams,
    "filter": FilterParams,
    "embed": EmbedParams,
    "finetune": FinetuneParams,
    "evaluate": EvaluateParams,
    "report": ReportParams,
}


def written(tmp_path: Path, old: str, new: str) -> Path:
    text = FILE.read_text()
    assert old in text
    (tmp_path / "params.yaml").write_text(text.replace(old, new, 1))
    return tmp_path / "params.yaml"


def test_the_committed_file_is_valid_in_every_section_and_option():
    for name, schema in SECTIONS.items():
        read_section(name, schema, FILE)
    values = read_params(FILE)
    assert set(values) == {"prepare", *SECTIONS}
    for package, section in (
        ("pipeline.base_models", "base_model"),
        ("pipeline.descriptions", "describe"),
        ("pipeline.methods", "finetune"),
    ):
        assert sorted(values[section]["options"]) == registry.names(package)
        for name in registry.names(package):
            options.chosen(package, section, "x", name, values[section]["options"])
    for name, spec in values["prepare"].items():
        module = registry.load("pipeline.datasets", spec["source"], name)
        validate(spec, module.Params, name)


def test_every_key_has_a_comment_above_it():
    lines = FILE.read_text().splitlines()
    seen: set[str] = set()
    for previous, line in zip(lines, lines[1:], strict=False):
        key = line.strip().split(":")[0]
        if line.lstrip().startswith("#") or ":" not in line or key in ("options", "source"):
            continue
        path_seen = key in seen  # repeated keys of the image sets are explained once
        seen.add(key)
        inside_templates = line.startswith("    d") and "This is" in line
        if not path_seen and not inside_templates:
            assert previous.strip().startswith("#"), f"no comment above: {line}"


def test_exponents_are_floats_as_dvc_writes_them(tmp_path):
    file = written(tmp_path, "learning_rate: 0.025", "learning_rate: 1e-05")
    assert read_section("finetune", FinetuneParams, file).learning_rate == 1e-5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  momentum: 0.9", "  momentum: 0.9\n  nesterov: true", "unknown key 'nesterov'"),
        ("  momentum: 0.9", "", "missing key 'momentum'"),
        ("  momentum: 0.9", "  momentum: '0.9'", "key 'momentum'.*valid number.*'0.9'"),
        ("  momentum: 0.9", "  momentum: 1.5", "key 'momentum'.*less than 1.*1.5"),
        ("  epochs: ", "  epochs: true #", "key 'epochs'.*valid integer.*True"),
        ("  epsilon_255: 4", "  epsilon_255: 0.5", "key 'epsilon_255'.*valid integer.*0.5"),
    ],
    ids=["unknown", "missing", "type", "range", "bool", "fraction"],
)
def test_a_bad_key_is_one_line_with_file_section_and_key(tmp_path, old, new, message):
    file = written(tmp_path, old, new)
    with pytest.raises(UserError, match=message) as caught:
        read_section("finetune", FinetuneParams, file)
    assert str(caught.value).startswith(f"{file}: finetune: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [("a: [", "not valid YAML"), ("- 1", "expected sections"), ("", "expected sections")],
)
def test_a_broken_file_is_named(tmp_path, content, message):
    (tmp_path / "params.yaml").write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        read_params(tmp_path / "params.yaml")
    assert "\n" not in str(caught.value)


def test_missing_file_section_and_bad_value(tmp_path):
    with pytest.raises(UserError, match="not found"):
        read_params(tmp_path / "params.yaml")
    with pytest.raises(UserError, match="'finetune.absent' is missing"):
        read_value("finetune.absent", int, FILE)
    with pytest.raises(UserError, match="evaluate.datasets: expected"):
        read_value("evaluate.datasets", int, FILE)
    assert read_value("finetune.epsilon_255", int, FILE) == 4


def test_an_unknown_plugin_names_those_there_are():
    with pytest.raises(UserError, match="finetune.method: 'magic' is not one of .*saft"):
        registry.load("pipeline.methods", "magic", "params.yaml: finetune.method")
    with pytest.raises(UserError, match="options has no 'saft'"):
        options.chosen("pipeline.methods", "finetune", "method", "saft", {})
