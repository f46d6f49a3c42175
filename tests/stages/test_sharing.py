"""Descriptions made once and shared: by the real dvc, a bare git remote and a folder remote.

The author's descriptions come from a server that is gone when the others start: whoever
runs the describe stage again fails.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from tests.support.dvc_stages import STAGES_FILE
from tests.support.openai_server import Response, Server, completion
from tests.support.project import make, run

DESCRIBE, FILTER, BASE = (f"{STAGES_FILE}:{name}" for name in ("describe", "filter", "model@base"))
SHARED = "data/inputs/published/shared"
ARTIFACT = "data/descriptions/descriptions.parquet"
WORDS = ["small", "round", "bright", "plain", "flat", "sharp"]


def written(number: int, body: dict[str, Any]) -> Response:
    """Six sentences that mention what was asked about."""
    content = body["messages"][0]["content"]
    question = content if isinstance(content, str) else content[-1]["text"]
    name = question.split(" distinguish ")[-1].split(" from other")[0]
    texts = [f"{name} looks {word} in picture {body['seed'] % 1000}" for word in WORDS]
    return completion(body, json.dumps({"sentences": texts}))


@dataclass
class Team:
    """The author's project, the bare repository, and the tags of two versions."""

    author: Path
    url: str
    folder: Path
    rows: int

    def clone(self, name: str) -> Path:
        target = self.folder / name
        run(self.folder, "git", "clone", "-q", self.url, str(target))
        return target


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Team:
    folder = tmp_path_factory.mktemp("team")
    (folder / "author").mkdir()
    author = make(folder / "author")
    (folder / "storage").mkdir()
    url = str(folder / "origin.git")
    run(folder, "git", "init", "-q", "--bare", "-b", "main", url)
    run(author, "git", "remote", "add", "origin", url)
    run(author, "dvc", "remote", "add", "-d", "team", str(folder / "storage"))
    server = Server(written)
    try:
        set_describe(author, server, seed=0)
        run(author, "dvc", "repro", FILTER)
        publish(author, "v0.1.0")
        first = len(pq.read_table(author / ARTIFACT))
        set_describe(author, server, seed=1)
        run(author, "dvc", "repro", DESCRIBE)
        publish(author, "v0.2.0")
        run(author, "git", "checkout", "-q", "-b", "first", "class-descriptions@v0.1.0")
        run(author, "git", "push", "-q", "origin", "first")
        run(author, "git", "checkout", "-q", "main")
    finally:
        server.http.shutdown()
        server.http.server_close()
    return Team(author, url, folder, first)


def set_describe(folder: Path, server: Server, **section: Any) -> None:
    edit(
        folder, section | {"backend": "openai", "prompts": "distinguishing"},
        base_url=server.url, answers=1, sentences=6, concurrency=2,
    )  # fmt: skip


def edit(folder: Path, section: dict[str, Any], **options: Any) -> None:
    yaml = YAML()
    values = yaml.load((folder / "params.yaml").read_text())
    values["describe"] |= section
    values["describe"]["options"][values["describe"]["backend"]] |= options
    with (folder / "params.yaml").open("w") as stream:
        yaml.dump(values, stream)


def publish(folder: Path, version: str) -> None:
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-q", "-m", version)
    run(folder, "gto", "register", "class-descriptions", "--version", version)
    run(folder, "dvc", "push", "-q")
    run(folder, "git", "push", "-q", "--follow-tags", "origin", "main")


def test_a_teammate_pulls_and_continues_without_describing(team: Team) -> None:
    mate = team.clone("mate")
    run(mate, "git", "checkout", "-q", "first")
    run(mate, "dvc", "pull", "-q", DESCRIBE)
    assert sorted(p.name for p in (mate / "data/descriptions").iterdir()) == [
        "descriptions.parquet", "provenance.json",
    ]  # fmt: skip
    output = run(mate, "dvc", "repro", FILTER)
    assert f"Running stage '{DESCRIBE}'" not in output
    assert f"Stage '{DESCRIBE}' didn't change, skipping" in output
    shown = run(mate, "dvc", "exp", "run", "-S", "filter.top_k=3", FILTER)
    assert f"Running stage '{FILTER}'" in shown
    assert f"Running stage '{DESCRIBE}'" not in shown


def test_a_clone_fetches_only_what_a_changed_stage_needs(team: Team) -> None:
    mate = team.clone("lean")
    run(mate, "git", "checkout", "-q", "first")
    edit_filter(mate)
    output = run(mate, "dvc", "repro", "--pull", "--allow-missing", FILTER)
    assert f"Running stage '{DESCRIBE}'" not in output
    assert f"Running stage '{BASE}'" not in output
    assert f"Running stage '{FILTER}'" in output


def edit_filter(folder: Path) -> None:
    file = folder / "params.yaml"
    text = file.read_text()
    assert "  top_k: 5\n" in text
    file.write_text(text.replace("  top_k: 5\n", "  top_k: 2\n"))


def other_project(team: Team, name: str) -> Path:
    folder = team.folder / name
    folder.mkdir()
    run(folder, "git", "init", "-q", "-b", "main")
    run(folder, "dvc", "init", "-q")
    return folder


def test_another_repository_gets_imports_and_updates(team: Team) -> None:
    other = other_project(team, "other")
    tag = "class-descriptions@v0.1.0"
    run(other, "dvc", "get", team.url, "data/descriptions", "-o", "copy", "--rev", tag)
    assert len(pq.read_table(other / "copy/descriptions.parquet")) == team.rows
    run(other, "dvc", "import", "-q", team.url, "data/descriptions", "-o", "kept", "--rev", tag)
    first = (other / "kept/descriptions.parquet").read_bytes()
    assert first == (other / "copy/descriptions.parquet").read_bytes()
    assert tag in (other / "kept.dvc").read_text()
    run(other, "dvc", "update", "-q", "kept.dvc", "--rev", "main")
    second = (other / "kept/descriptions.parquet").read_bytes()
    assert second != first
    assert second == (team.author / ARTIFACT).read_bytes()


def test_python_reads_a_version_without_a_checkout(team: Team) -> None:
    code = f"""
import dvc.api, pandas
with dvc.api.open({ARTIFACT!r}, repo={team.url!r}, rev="class-descriptions@v0.1.0", mode="rb") as f:
    print(len(pandas.read_parquet(f)))
fs = dvc.api.DVCFileSystem({team.url!r}, rev="main")
print(len(pandas.read_parquet({ARTIFACT!r}, filesystem=fs)))
"""
    output = run(team.folder, sys.executable, "-c", code).split()
    assert output[-2:] == [str(team.rows), str(team.rows)]


def test_by_name_and_version(team: Team) -> None:
    other = other_project(team, "by-name")
    name = "class-descriptions"
    run(other, "dvc", "artifacts", "get", team.url, name, "--rev", "v0.1.0", "-o", "old")
    run(other, "dvc", "artifacts", "get", team.url, name, "-o", "latest")
    assert (other / "latest/descriptions.parquet").read_bytes() == (
        team.author / ARTIFACT
    ).read_bytes()
    assert (other / "old/descriptions.parquet").read_bytes() != (
        other / "latest/descriptions.parquet"
    ).read_bytes()
    seeds = [
        json.loads((other / f / "provenance.json").read_text())["seed"] for f in ("old", "latest")
    ]
    assert seeds == [0, 1]


def test_a_clone_without_any_remote_is_told_what_to_do(team: Team) -> None:
    clone = team.clone("bare")
    run(clone, "dvc", "remote", "remove", "team")
    output = run(clone, "dvc", "repro", DESCRIBE, status=255)
    [line] = [line for line in output.splitlines() if f"[{DESCRIBE}] error:" in line]
    assert "cannot be reached" in line
    assert "dvc pull stages/dvc.yaml:describe" in line
    shown = run(clone, sys.executable, "-m", "saft.app", "descriptions", "show", status=1)
    assert "dvc pull stages/dvc.yaml:describe" in shown
    assert "Traceback" not in output + shown


def test_two_people_describe_halves_and_merge_them(team: Team) -> None:
    server = Server(written)
    whole = pd.read_parquet(team.author / ARTIFACT)
    ids = list(dict.fromkeys(whole["class_id"]))
    halves = {"alice": ids[: len(ids) // 2], "bob": ids[len(ids) // 2 :]}
    try:
        for name, only in halves.items():
            mate = team.clone(name)
            set_describe(mate, server, seed=1, only=only)
            run(mate, "dvc", "repro", DESCRIBE)
    finally:
        server.http.shutdown()
        server.http.server_close()
    editor = team.clone("editor")
    parts = [str(team.folder / name / "data/descriptions") for name in halves]
    merge = [sys.executable, "-m", "saft.app", "descriptions", "merge"]
    run(editor, *merge, *parts[::-1], "--output", SHARED)
    merged = pd.read_parquet(editor / SHARED / "descriptions.parquet")
    columns = [*merged.columns]
    by = ["class_id", "prompt_id", "sample_index"]
    pd.testing.assert_frame_equal(
        merged.sort_values(by)[columns].reset_index(drop=True),
        whole.sort_values(by)[columns].reset_index(drop=True),
    )
    run(editor, "dvc", "add", "-q", SHARED)
    edit(editor, {"backend": "published"}, file="shared/descriptions.parquet")
    run(editor, "dvc", "repro", DESCRIBE)
    final = pd.read_parquet(editor / ARTIFACT)
    assert list(dict.fromkeys(final["class_id"])) == ids, "the order of the class table"
    assert sorted(final["sentence"]) == sorted(whole["sentence"])
    assert set(final["prompt_id"]) == {"distinguishing"}
    made = json.loads((editor / "data/descriptions/provenance.json").read_text())
    assert [one["provenance"]["seed"] for one in made["origin"]["merged"]] == [1, 1]
    conflict = subprocess.run(
        [*merge, parts[0], str(team.author / "data/descriptions"), "--output", "data/again"],
        cwd=editor, capture_output=True, text=True,
    )  # fmt: skip
    assert conflict.returncode == 0, "identical rows are no conflict"


def test_exemplars_are_a_stage_of_their_own_that_only_describe_needs(team: Team) -> None:
    mate = team.clone("images")
    run(mate, "git", "checkout", "-q", "first")
    run(mate, "dvc", "pull", "-q", DESCRIBE, f"{STAGES_FILE}:prepare@shapes-train", BASE)
    file = mate / "params.yaml"
    text = file.read_text()
    entry = "exemplars:\n  nearest: {images_per_class: 2, candidates_per_class: null}\n"
    assert "\nexemplars: {}\n" in text
    assert "  exemplars: none\n" in text
    text = text.replace("\nexemplars: {}\n", f"\n{entry}")
    file.write_text(text.replace("  exemplars: none\n", "  exemplars: nearest\n"))
    server = Server(written)
    try:
        edit(mate, {}, base_url=server.url)
        output = run(mate, "dvc", "repro", DESCRIBE)
    finally:
        server.http.shutdown()
        server.http.server_close()
    assert f"Running stage '{STAGES_FILE}:exemplars@nearest'" in output
    assert f"Running stage '{DESCRIBE}'" in output
    kinds = [[part["type"] for part in b["messages"][0]["content"]] for b in server.bodies]
    assert kinds == [["image_url", "image_url", "text"]] * len(server.bodies)
    assert (
        json.loads((mate / "data/descriptions/provenance.json").read_text())["exemplars_per_class"]
        == 2
    )
    edit_filter(mate)
    assert "Running stage" not in run(mate, "dvc", "repro", DESCRIBE)
    ignored = run(mate, "git", "status", "--porcelain", "data")
    assert ignored == "", "no output shows up in git"
