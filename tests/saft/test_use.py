"""`saft profiles` and `saft use`: one command per profile, and no edit is ever lost."""

import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.common.params import read_params
from saft.app import app
from tests.support.project import DEMO, ROOT

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
        ("  dataset: shapes-train\n  # text sets of", "  dataset: nowhere\n  # t",
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


@pytest.mark.parametrize(
    "text",
    [
        "b0: &b0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
        + "".join(f"b{n}: &b{n} [{', '.join(10 * [f'*b{n - 1}'])}]\n" for n in range(1, 10)),
        f"epochs: {'9' * 5000}\n",
        "epochs: 2024-13-45\n",
        f"a: {'[' * 3000}{']' * 3000}\n",
    ],
    ids=["an alias bomb", "a number too long", "a date that is none", "too many levels"],
)
@pytest.mark.parametrize("extends", ["", "extends: one\n"])
def test_a_profile_that_stands_for_too_much_is_one_line_naming_it(checkout, text, extends):
    before = params()
    overlay("odd", extends + text)
    said = saft("use", "odd", status=1)
    assert said.count("\n") == 1
    assert "profiles/odd.yaml" in said
    assert "does not expect" not in said
    assert params() == before


def test_what_editors_and_systems_leave_among_the_profiles_is_none(checkout):
    Path("profiles/.#one.yaml").symlink_to("me@host.1234:1")
    Path("profiles/._one.yaml").write_bytes(b"\0\5\x16\7")
    Path("profiles/gone.yaml").symlink_to("nowhere.yaml")
    listed = saft("profiles").splitlines()
    assert [line.split()[0] for line in listed] == ["gone", "one", "two"]
    assert "cannot be read" in listed[0]
    saft("use", "one")
    assert params() == profile("one")
    assert "profiles/gone.yaml: cannot be read" in saft("use", "gone", status=1)


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


# --- from another folder ------------------------------------------------------------------


@pytest.fixture
def below(project, monkeypatch):
    """A folder below the project, which is the current one."""
    (project / "dvc.yaml").write_text("stages: {}\n")
    folder = project / "data/raw/pets"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def test_below_the_project_it_works_in_the_projects_folder(project, below):
    done = CliRunner().invoke(app, ["profiles"])
    assert done.stdout == f"{'one':28}Profile one.\n{'two':28}Profile two.\n"
    assert done.stderr == f"saft: in {project}\n"
    (project / "params.yaml").unlink()
    assert "params.yaml is now profiles/one.yaml" in saft("use", "one")
    assert (project / "params.yaml").read_bytes() == (project / "profiles/one.yaml").read_bytes()
    assert list(below.iterdir()) == []
    assert Path.cwd() == below
    done = CliRunner().invoke(app, ["use", "three"])
    assert "error: saft use: profiles has no profile 'three', only one, two\n" in done.stderr
    assert "below the project" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["evaluate", "x"], ["compare", "saft"], ["export", "out"], ["prompts", "write", "x", "--about",
     "pets"]],
    ids=lambda arguments: arguments[0],
)  # fmt: skip
def test_commands_with_paths_say_where_to_run_them(project, below, arguments):
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1, done.output
    line = f"; this folder is below the project, run it in {project}\n"
    assert done.stderr.endswith(line)
    assert done.stderr.count("\n") == 1


def test_outside_any_project_it_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in (["use", "demo"], ["profiles"]):
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 1
        assert done.stderr == (
            f"error: saft {arguments[0]}: there is no folder profiles here; run it in the "
            "project's folder\n"
        )
