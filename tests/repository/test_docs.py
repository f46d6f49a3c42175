"""README.md and the pages of docs/: links, commands, parameters and tables, against the code."""

import re
from importlib.util import find_spec
from pathlib import Path

import click
import pytest
import typer
from ruamel.yaml import YAML

from pipeline.common import registry
from pipeline.report.filter_section import REASONS
from saft.app import app
from saft.schema import check_params
from tests.support.dvc_stages import ROOT_FILE, STAGES_FILE, STAGES_OF
from tests.support.pages import (
    PAGES,
    PARAMS,
    WITH_GUIDES,
    anchors,
    blocks,
    commands,
    first_column,
    has_key,
    inline,
    merged,
    named,
)
from tests.support.project import ROOT


@pytest.mark.parametrize("page", WITH_GUIDES, ids=lambda page: str(page.relative_to(ROOT)))
def test_local_links_and_their_anchors_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", page.read_text()):
        file = page.parent / target if target else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), f"{target}#{anchor}"


def test_every_page_is_linked_from_the_readme():
    readme = (ROOT / "README.md").read_text()
    for page in PAGES[1:]:
        assert f"(docs/{page.name})" in readme


def test_every_parameter_in_a_command_exists():
    pairs = [
        (command, word)
        for command in commands(WITH_GUIDES)
        for option, word in zip(command.words, command.words[1:], strict=False)
        if option == "-S"
    ]
    assert len(pairs) > 30
    for command, pair in pairs:
        key = pair.partition("=")[0].removeprefix("~")
        # +KEY adds one: below what is there
        assert has_key(key[1:].rpartition(".")[0] if key.startswith("+") else key), command


def test_every_parameter_in_a_text_exists():
    sections = "|".join(PARAMS)
    keys = {
        (page.name, span.partition(":")[0])
        for page in PAGES
        for span in inline(page)
        if re.fullmatch(rf"({sections})(\.[a-z]\w*)+(: .+)?", span) and span != "report.html"
    }
    assert len(keys) > 30
    assert [key for key in keys if not has_key(key[1])] == []


def test_every_piece_of_params_yaml_is_valid():
    """Merged into the demo's parameters, what a page shows of params.yaml passes the schema."""
    pieces = [
        (page.name, values)
        for page in PAGES
        for text in blocks(page, {"yaml"})
        if set(values := YAML(typ="safe", pure=True).load(text)) <= set(PARAMS)
    ]
    assert len(pieces) >= 3
    for name, values in pieces:
        assert check_params(merged(PARAMS, values), Path(name)) == []


def test_every_saft_command_and_option_exists():
    used = [command for command in named("saft") if command.words[1:]]  # `saft` is a method, too
    assert {command.words[1] for command in used} >= set(typer.main.get_command(app).commands)
    for command in used:
        group: click.Command = typer.main.get_command(app)
        rest = command.words[1:]
        while hasattr(group, "commands") and rest and not rest[0].startswith("-"):
            assert rest[0] in group.commands, command
            group = group.commands[rest.pop(0)]
        options = [(*parameter.opts, *parameter.secondary_opts) for parameter in group.params]
        known = {option for of_one in options for option in of_one} | {"--help"}
        assert {word for word in rest if word.startswith("--")} <= known, command


def test_every_profile_make_target_and_module_exists():
    profiles = {file.stem for file in (ROOT / "profiles").glob("*.yaml")} | {"NAME"}
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for command in named("saft", "use"):
        assert set(command.words[2:3]) <= profiles, command
    for command in named("make"):
        assert set(command.words[1:]) <= {*targets, ".venv/.installed"}, command
    modules = [c for c in named("python", "-m") if "<" not in c.words[2]]
    assert len(modules) > 3
    assert [command for command in modules if find_spec(command.words[2]) is None] == []
    scripts = [c for c in named("python") if c.words[1:] and c.words[1].endswith(".py")]
    assert [command for command in scripts if not (ROOT / command.words[1]).is_file()] == []


def test_every_stage_in_a_dvc_command_exists():
    """`dvc repro -f stages/dvc.yaml:prepare@my-pets`: the image set may be one's own, the stage may
    not, nor the file."""
    used = [c for c in [*named("dvc", "repro"), *named("dvc", "commit")] if len(c.words) > 2]
    stages = [(c, word) for c in used for word in c.words[2:] if not word.startswith("-")]
    assert len(stages) > 5
    known = {*STAGES_OF[ROOT_FILE], *(f"{STAGES_FILE}:{name}" for name in STAGES_OF[STAGES_FILE])}
    known |= {ROOT_FILE, STAGES_FILE}
    assert [pair for pair in stages if pair[1].partition("@")[0] not in known] == []


def test_every_variable_of_the_environment_is_read():
    sources = [
        *(ROOT / "pipeline").rglob("*.py"),
        *(ROOT / "stages").rglob("*.py"),
        *(ROOT / "saft").rglob("*.py"),
    ]
    read = {name for file in sources for name in re.findall(r'"(SAFT_\w+)"', file.read_text())}
    shown = {name for page in PAGES for name in re.findall(r"SAFT_[A-Z_]+", page.read_text())}
    assert shown
    assert shown <= read


@pytest.mark.parametrize(
    ("page", "heading", "package"),
    [
        ("docs/methods.md", "`finetune.method`", "pipeline.methods"),
        ("docs/attacks.md", "`evaluate.attacks`", "pipeline.attacks"),
        ("docs/data-sets.md", "`source`", "pipeline.datasets"),
        ("docs/descriptions.md", "`describe.backend`", "pipeline.backends"),
        ("docs/weights.md", "`source`", "pipeline.model_sources"),
    ],
)
def test_every_plug_in_is_explained_and_no_other(page, heading, package):
    assert sorted(first_column(page, heading)) == registry.names(package)


def test_every_prompt_set_and_every_reason_of_the_filter_is_explained():
    sets = sorted(file.stem for file in (ROOT / "data/prompts").glob("*.yaml"))
    assert sorted(first_column("docs/descriptions.md", "`describe.prompts`")) == sets
    assert first_column("docs/descriptions.md", "`reason`") == list(REASONS)


def test_the_settings_of_every_method_exist():
    for key in first_column("docs/methods.md", "key of `finetune`"):
        assert has_key(f"finetune.{key}"), key
