"""`saft profiles` and `saft use`: one command per profile, and no edit is ever lost."""

import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from pipeline.common.errors import UserError
from pipeline.common.params import read_params
from saft.app import app
from saft.schema import check_params
from tests.support.project import DEMO, ROOT

MODEL = {"source": "pretrain", "options": {"training": "small"}, "defended": False, "licence": None,
         "citation": None}  # fmt: skip
EDIT = b"\n# an edit of mine\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """params.yaml and two profiles in an empty folder, without git."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    shutil.copy(DEMO, tmp_path / "params.yaml")
    shutil.copytree(ROOT / "data/prompts", tmp_path / "data/prompts")
    text = DEMO.read_text()
    (tmp_path / "profiles").mkdir()
    for name, epochs in (("one", 1), ("two", 2)):
        changed = text.replace("  epochs: 8", f"  epochs: {epochs}")
        assert changed != text
        (tmp_path / f"profiles/{name}.yaml").write_text(f"# Profile {name}.\n{changed}")
    return tmp_path


def overlay(name: str, text: str) -> None:
    Path(f"profiles/{name}.yaml").write_text(text)


@pytest.fixture
def checkout(project):
    """The same, committed."""
    git("init", "-q", "-b", "main")
    git("add", "-A")
    git("-c", "user.name=t", "-c", "user.email=t@example.invalid", "commit", "-qm", "start")
    return project


def git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True, capture_output=True)


def saft(*arguments: str, status: int = 0) -> str:
    """Run the command; what it printed. A failure is one line on stderr."""
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == status, done.output
    if status:
        assert done.stderr.startswith("error: saft use: ")
        assert done.stderr.count("\n") == 1
    return done.output


def params() -> bytes:
    return Path("params.yaml").read_bytes()


def profile(name: str) -> bytes:
    return Path(f"profiles/{name}.yaml").read_bytes()


def test_profiles_are_listed_with_their_first_comment(project):
    assert [line.split(maxsplit=1) for line in saft("profiles").splitlines()] == [
        ["one", "Profile one."],
        ["two", "Profile two."],
    ]


def test_use_copies_the_bytes_and_shows_what_changes(checkout):
    shown = saft("use", "one")
    assert params() == profile("one")
    assert "-  epochs: 8\n" in shown
    assert "+  epochs: 1\n" in shown
    assert "\x1b[" not in shown, "colours are for terminals"


def test_between_profiles_and_back_without_a_commit(checkout):
    before = params()
    for name in ("one", "two", "one"):
        saft("use", name)
        assert params() == profile(name)
    assert "is profiles/one.yaml already" in saft("use", "one")
    git("checkout", "params.yaml")
    assert params() == before


@pytest.mark.parametrize("base", ["committed", "profile"])
def test_edits_that_are_not_committed_stay(checkout, base):
    if base == "profile":
        saft("use", "two")
    Path("params.yaml").write_bytes(params() + EDIT)
    before = params()
    message = saft("use", "one", status=1)
    assert "git commit params.yaml" in message
    assert "git checkout params.yaml" in message
    assert "--force is for folders without git" in saft("use", "one", "--force", status=1)
    assert params() == before


def test_committed_edits_may_be_replaced(checkout):
    Path("params.yaml").write_bytes(params() + EDIT)
    git("-c", "user.name=t", "-c", "user.email=t@example.invalid", "commit", "-qam", "mine")
    saft("use", "one")
    assert params() == profile("one")


def test_staged_edits_are_edits(checkout):
    Path("params.yaml").write_bytes(params() + EDIT)
    git("add", "params.yaml")
    before = params()
    saft("use", "one", status=1)
    assert params() == before


def test_without_git_edits_need_force(project):
    before = params()
    assert "--force" in saft("use", "one", status=1)
    assert params() == before
    saft("use", "one", "--force")
    saft("use", "two")  # from one profile to another nothing is lost
    assert params() == profile("two")
    Path("params.yaml").unlink()
    saft("use", "one")
    assert params() == profile("one")


def as_text(line_end: bytes) -> None:
    """params.yaml and the profiles with these line ends."""
    for file in (Path("params.yaml"), *Path("profiles").glob("*.yaml")):
        file.write_bytes(file.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", line_end))


def test_line_ends_that_git_converts_are_no_edit(checkout):
    git("config", "core.autocrlf", "true")
    as_text(b"\r\n")
    git("add", "--renormalize", ".")
    git("diff", "--quiet", "HEAD")
    saft("use", "one")
    assert params() == profile("one")
    git("checkout", "params.yaml")
    Path("params.yaml").write_bytes(params() + EDIT)
    assert "edits that are not committed" in saft("use", "two", status=1)


def linked(target: str) -> Path:
    """params.yaml as a committed link to `target`, which becomes its content."""
    Path(target).parent.mkdir(exist_ok=True)
    Path("params.yaml").rename(target)
    Path("params.yaml").symlink_to(target)
    return Path(target)


def commit() -> None:
    git("add", "-A")
    git("-c", "user.name=t", "-c", "user.email=t@example.invalid", "commit", "-qm", "more")


def test_a_link_stays_a_link(checkout):
    target = linked("settings/mine.yaml")
    commit()
    saft("use", "one")
    assert Path("params.yaml").is_symlink()
    assert target.read_bytes() == profile("one")
    saft("use", "two")
    target.write_bytes(params() + EDIT)
    message = saft("use", "one", status=1)
    assert f"`git commit {checkout.resolve()}/settings/mine.yaml` keeps them" in message
    assert params() == profile("two") + EDIT
    commit()
    saft("use", "one")
    assert params() == profile("one")


def test_a_link_to_a_file_that_git_does_not_know(checkout):
    Path(".gitignore").write_text("mine.yaml\n")
    target = linked("mine.yaml")
    commit()
    assert "is not in git and would be overwritten" in saft("use", "one", status=1)
    saft("use", "one", "--force")
    assert Path("params.yaml").is_symlink()
    assert target.read_bytes() == profile("one")


def test_an_untracked_file_is_an_edit_unless_it_is_a_profile(checkout):
    git("rm", "-q", "--cached", "params.yaml")
    before = params()
    assert "keep a copy, then --force" in saft("use", "one", status=1)
    assert params() == before
    saft("use", "one", "--force")
    saft("use", "two")
    assert params() == profile("two")


def test_dry_shows_and_changes_nothing(checkout):
    Path("params.yaml").write_bytes(params() + EDIT)
    before = params()
    assert "+  epochs: 2\n" in saft("use", "two", "--dry")
    assert params() == before


def test_an_unknown_profile_names_those_there_are(checkout):
    before = params()
    message = saft("use", "demo", status=1)
    assert "no profile 'demo', only one, two" in message
    saft("use", "../params", status=1)
    assert params() == before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  momentum: null", "  momentun: null", "profiles/one.yaml: finetune: "),
        ("  dataset: shapes-train\n  # a file of pipeline/methods", "  dataset: nowhere\n  # a f",
         "finetune.dataset: prepare.sets has no set 'nowhere'"),
        ("finetune:\n", "finetune: [\n", "profiles/one.yaml: not valid YAML"),
    ],
)  # fmt: skip
def test_an_invalid_profile_leaves_params_untouched(checkout, old, new, message):
    file = Path("profiles/one.yaml")
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    before = params()
    assert message in saft("use", "one", status=1)
    assert params() == before
    assert sorted(p.name for p in checkout.iterdir() if "partial" in p.name) == []


def test_an_overlay_becomes_a_complete_file(checkout):
    overlay("short", "# Shorter.\nextends: two\nfinetune:\n  epochs: 1  # for a look\n")
    shown = saft("use", "short")
    assert "-  epochs: 8\n" in shown
    assert "+  epochs: 1  # for a look\n" in shown
    old, new = profile("two").decode(), params().decode()
    assert new.startswith("# Shorter.\n\n# Where files come from")
    assert (
        new.split("\n\n", 1)[1]
        == old.replace("  epochs: 2", "  epochs: 1  # for a look").split("\n\n", 1)[1]
    )
    assert "is profiles/short.yaml already" in saft("use", "short")
    saft("use", "one")  # nothing is lost: what an overlay stands for is a profile too
    assert params() == profile("one")


def test_edits_of_what_an_overlay_made_stay(checkout):
    overlay("short", "extends: two\nfinetune:\n  epochs: 1\n")
    overlay("broken", "extends: nowhere\n")
    saft("use", "short")
    Path("params.yaml").write_bytes(params() + EDIT)
    before = params()
    assert "edits that are not committed" in saft("use", "one", status=1)
    assert params() == before


def test_print_shows_the_complete_file_and_changes_nothing(checkout):
    overlay("short", "extends: two\nfinetune:\n  epochs: 1\n")
    before = params()
    printed = saft("use", "short", "--print")
    assert params() == before
    saft("use", "short")
    assert printed.encode() == params()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("finetune:\n  momentun: null\n", "short.yaml: finetune.momentun: no such key"),
        ("finetune:\n  momentum: 2\n", "profiles/short.yaml: finetune: key 'momentum'"),
        ("finetune: [\n", "profiles/short.yaml: not valid YAML"),
        ("evaluate: {seed: &s 1}\nfinetune: {seed: *s}\n", "'seed' is an alias"),
        ("evaluate: {datasets: [*s]}\n", "profiles/short.yaml: not valid YAML"),
        ("report: {title: !replace {}}\n", "profiles/short.yaml: report: key 'title'"),
    ],
)
def test_an_invalid_overlay_leaves_params_untouched(checkout, text, message):
    overlay("short", f"extends: two\n{text}")
    before = params()
    assert message in saft("use", "short", status=1)
    assert params() == before


def changed(**changes: object) -> list[str]:
    """Problems of the demo's file with some keys ("section/key") set."""
    values = read_params(DEMO)
    for path, value in changes.items():
        *parents, key = path.split("/")
        target = values
        for part in parents:
            target = target[part]
        target[key] = value
    return check_params(values)


@pytest.mark.parametrize("name", ["a.b", "a b", "a@b", "a/b", "a$b", "a{b}", "-a", "_a", "", "ä"])
def test_names_that_dvc_cannot_take(monkeypatch, name):
    monkeypatch.chdir(ROOT)
    entry = read_params(DEMO)["prepare"]["sets"]["digits"]
    exemplars = {name: {"images_per_class": 1, "candidates_per_class": None}}
    problems = changed(**{f"prepare/sets/{name}": entry} if "/" not in name else {})
    if "/" not in name:  # which `changed` reads as a level
        assert [f"params.yaml: prepare.sets: '{name}' cannot be a name" in x for x in problems] == [
            True
        ]
    assert any(
        f"params.yaml: exemplars: '{name}' cannot be a name" in text
        for text in changed(exemplars=exemplars)
    )
    texts = {"template": {"default": ["{}"]}, name: {"default": ["{}"]}}
    problems = changed(**{"embed/texts": texts})
    assert any(f"embed.texts: '{name}' cannot be a name" in text for text in problems)


def test_names_that_dvc_can_take(monkeypatch):
    monkeypatch.chdir(ROOT)
    entry = read_params(DEMO)["prepare"]["sets"]["digits"]
    assert changed(**{"prepare/sets/2nd-Set_x": entry}) == []
    assert any("unknown section '5'" in text for text in check_params({5: 1, "x": 2}))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("finetune/dataset", "x", "finetune.dataset: prepare.sets has no set 'x'"),
        ("describe/dataset", "x", "describe.dataset: prepare.sets has no set 'x'"),
        ("pretrain/small/dataset", "x", "pretrain.small.dataset: prepare.sets has no set 'x'"),
        ("pretrain/small/k", 5, "pretrain.small: unknown key 'k'"),
        ("pretrain", None, "pretrain: expected a section with keys, found None"),
        ("models/base/k", 5, "models.base: unknown key 'k'"),
        ("models/base/source", "x", "models.base.source: 'x' is not one of checkpoint, local"),
        ("models/base/options/k", 5, "models.base.options: unknown key 'k'"),
        ("models/base/options/training", "x", "section pretrain has small, no 'x'"),
        ("models/base/defended", "x", "models.base: key 'defended'"),
        ("models", [], "models: expected a section with keys, found []"),
        ("models", {}, "models has no 'base', from which 'finetuned' of evaluate.models is made"),
        ("models/finetuned", MODEL, "models.finetuned: this name stands for the model that sect"),
        ("models/a.b", MODEL, "models: 'a.b' cannot be a name"),
        ("pretrain/a b", {}, "pretrain: 'a b' cannot be a name"),
        ("evaluate/models", ["x"], "evaluate.models: section models has no 'x'; there are base, f"),
        ("evaluate/models", [], "evaluate: key 'models'"),
        ("evaluate/models", ["base", "base"], "evaluate.models names base 2 times; once is enough"),
        ("evaluate/epsilons_255", [4, 0], "evaluate: key 'epsilons_255.1': Input should be gr"),
        ("evaluate/epsilons_255", [4, 4.0], "evaluate.epsilons_255 names 4 2 times"),
        ("evaluate/epsilons_255", [], "evaluate: key 'epsilons_255'"),
        ("evaluate/datasets", ["digits"] * 2, "evaluate.datasets names digits 2 times"),
        ("report/reference", "x", "report.reference: 'x' is not in evaluate.models, base, fin"),
        ("evaluate/datasets", ["x"], "evaluate.datasets: prepare.sets has no set 'x'"),
        ("evaluate/checks/datasets", ["x"], "evaluate.checks.datasets: prepare.sets has no set"),
        ("evaluate/texts", ["x"], "evaluate.texts: 'x' is not a text set"),
        ("evaluate/attacker", "x", "evaluate.attacker: 'x' is not a text set"),
        ("embed/texts", {"a": {"default": ["{}"]}}, "embed.texts has no 'template'"),
        ("embed/texts/same", {"default": ["{}"]}, "embed.texts.same: this name stands for the te"),
        ("embed/texts/descriptions", {}, "embed.texts.descriptions: this name stands for the kep"),
        ("exemplars", {"none": {}}, "exemplars.none: missing key 'images_per_class'"),
        ("describe/exemplars", "x", "describe.exemplars: 'x' is not one of none"),
        ("describe/prompts", "x", "describe.prompts: data/prompts has no 'x', only appearance"),
        ("finetune/method", "x", "finetune.method: 'x' is not one of agft"),
        ("evaluate/attacks", ["x"], "evaluate.attacks: 'x' is not one of apgd_ce"),
        ("finetune/options/saft/k", 5, "finetune.options.saft: unknown key 'k'"),
        ("evaluate/options/fgsm/k", 5, "evaluate.options.fgsm: unknown key 'k'"),
        ("prepare/sets/digits/k", 5, "prepare.sets.digits: unknown key 'k'"),
        ("prepare/sets/digits/source", "x", "prepare.sets.digits.source: 'x' is not one of"),
        ("evaluate/checks/steps", 1, "evaluate.checks: key 'steps'"),
        ("exemplars", {"near": {}}, "exemplars.near: missing key 'images_per_class'"),
        ("extra", {}, "unknown section 'extra'"),
        ("finetune/optimiser", "adamw", "finetune.weight_decay is null"),
    ],
)  # fmt: skip
def test_every_kind_of_problem_in_params_is_found(monkeypatch, path, value, message):
    monkeypatch.chdir(ROOT)
    problems = changed(**{path: value})
    assert any(message in text for text in problems), problems
    assert all(text.startswith("params.yaml: ") and "\n" not in text for text in problems)


def test_all_problems_are_found_at_once(monkeypatch):
    monkeypatch.chdir(ROOT)
    problems = changed(**{"finetune/dataset": "x", "data/root": 3, "evaluate/texts": ["y"]})
    assert len(problems) == 3


def test_values_come_back_as_they_were(monkeypatch):
    monkeypatch.chdir(ROOT)
    values = read_params(DEMO)
    assert check_params(values) == []
    assert values == YAML(typ="safe", pure=True).load(DEMO.read_text())


def test_without_the_section_that_makes_the_fine_tuned_model(monkeypatch):
    monkeypatch.chdir(ROOT)
    values = read_params(DEMO)
    del values["finetune"]
    missing = "params.yaml: missing section 'finetune'"
    assert check_params(values) == [f"{missing}, which makes 'finetuned' of evaluate.models"]
    values["evaluate"]["models"] = ["base"]
    assert check_params(values) == [missing]


def test_what_is_not_evaluated_needs_no_base_model(monkeypatch):
    monkeypatch.chdir(ROOT)
    changes = {"models": {"fare": MODEL}, "evaluate/models": ["fare"], "report/reference": "fare"}
    assert changed(**changes) == []
    [text] = changed(**changes, **{"evaluate/texts": ["descriptions"]})
    assert text.endswith(
        "models has no 'base', from which text set 'descriptions' is filtered; add it"
    )


def test_two_models_of_one_name_are_one_line(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text("models:\n  fare: {source: local}\n  fare: {source: local}\n")
    with pytest.raises(UserError) as caught:
        read_params(file)
    assert str(caught.value) == (
        f'{file}: line 3: found duplicate key "fare"; a name may be there once'
    )


def test_an_overlay_adds_models_and_trainings(checkout):
    fare = "{source: local, options: {path: x}, defended: true, licence: MIT, citation: null}"
    overlay("more", f"extends: two\nmodels:\n  fare: {fare}\npretrain:\n  small: {{steps: 9}}\n"
            "evaluate:\n  models: [base, fare]\n")  # fmt: skip
    saft("use", "more")
    values = read_params()
    assert list(values["models"]) == ["base", "fare"]
    assert values["models"]["fare"]["licence"] == "MIT"
    assert values["pretrain"]["small"]["steps"] == 9
    overlay("swapped", "extends: two\nmodels:\n  base:\n    source: local\n"
            "    options: !replace {path: my-clip}\n")  # fmt: skip
    saft("use", "swapped")
    assert read_params()["models"]["base"]["options"] == {"path": "my-clip"}
    overlay("wrong", "extends: two\nmodels:\n  base: {options: {path: my-clip}}\n")
    assert "models.base.options: unknown key 'path'" in saft("use", "wrong", status=1)
