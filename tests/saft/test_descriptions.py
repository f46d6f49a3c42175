"""`saft descriptions show` and `merge` as typed, on real files."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pipeline.common.tables import write_json, write_table
from pipeline.descriptions import captions
from pipeline.descriptions.artifact import SCHEMA, to_columns
from pipeline.descriptions.interface import Sentence
from pipeline.filtering import table as filtered
from pipeline.images.classes import CLASS_SCHEMA, ClassEntry
from saft.app import app
from tests.support.project import DEMO

PARAMS = DEMO.read_text()
NAMES = {"n3": "ant", "n1": "crane", "n2": "crane"}
CLASSES = [ClassEntry(key, name) for key, name in NAMES.items()]
PARQUET = "data/descriptions/descriptions.parquet"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """An empty current folder, which is no project; no tokenizer is ever needed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("saft.descriptions.figures.count_tokens", None)
    return tmp_path


def artifact(folder: str, classes=CLASSES, provenance=True, **texts: list[str]) -> Path:
    """An artifact as the describe stage writes it."""
    path = Path(folder)
    sentences = [
        Sentence(key, text, "vllm", "visual", "parts", number)
        for key, class_texts in texts.items()
        for number, text in enumerate(class_texts)
    ]
    columns = to_columns(sentences, classes, lambda texts: [len(t.split()) + 2 for t in texts])
    write_table(path / "descriptions.parquet", columns, SCHEMA)
    if provenance:
        write_json(path / "provenance.json", {"backend": "vllm", "who": folder})
    return path


def project(**texts: list[str]) -> None:
    """A project with the demo's params, its class table and maybe its own artifact."""
    Path("params.yaml").write_text(PARAMS)
    columns = {"label": range(3), "class_id": list(NAMES), "name": list(NAMES.values())}
    write_table(Path("data/classes/shapes-train.parquet"), columns, CLASS_SCHEMA)
    if texts:
        artifact("data/descriptions", **texts)


def run(*arguments: object):
    return CliRunner().invoke(app, ["descriptions", *map(str, arguments)])


def good(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


def bad(*arguments: object) -> str:
    """The only line on stderr."""
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert isinstance(result.exception, SystemExit)
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def test_help_loads_neither_torch_nor_open_clip():
    code = "import sys, saft.app; print({'torch', 'open_clip', 'pandas'} & set(sys.modules))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


def test_show_outside_a_project_takes_a_folder_or_the_file_and_the_defaults():
    folder = artifact("a", n1=["A tall grey bird.", "It is grey."], n2=["A yellow machine."])
    text = good("show", folder)
    assert text == good("show", folder / "descriptions.parquet")
    assert text.startswith("a/descriptions.parquet\n\nOrigin\n  backend")
    assert "2; no class table to compare with" in text
    assert "context 77 (defaults)" in " ".join(text.split())
    assert "\nFilter" not in text
    assert "\nClasses" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_show_in_a_project_uses_its_table_its_rules_and_its_base_models_context():
    project(n1=["A tall grey bird.", "It is grey."], n3=["Six legs, black."])
    Path("params.yaml").write_text(PARAMS.replace("min_words: 3", "min_words: 4"))
    config = Path("data/models/base/clip/open_clip_config.json")
    write_json(config, {"model_cfg": {"text_cfg": {"context_length": 5}}})
    figures = json.loads(good("show", "--json", "--classes"))
    assert figures["file"] == PARQUET
    assert figures["class_table"] == "data/classes/shapes-train.parquet"
    assert figures["coverage"]["missing"] == ["n2"]
    assert figures["cleaning"]["min_words"] == 4
    assert figures["cleaning"]["rules_from"] == "params.yaml"
    assert figures["cleaning"]["context"] == 5
    assert list(figures["cleaning"]["dropped"]) == ["fragment", "too_long"]
    assert figures["tokens"]["over_context"] == 1
    assert [line["class_id"] for line in figures["classes"]] == ["n3", "n1", "n2"]
    assert "classes" not in json.loads(good("show", "--json"))
    write_json(config, {"model_cfg": {"text_cfg": {}}})
    assert json.loads(good("show", "--json"))["cleaning"]["context"] == 77


def test_classes_adds_a_line_per_class():
    project(n1=["A tall grey bird."])
    text = good("show", "--classes")
    assert text.splitlines()[-4:] == [
        "  sentences  clean     tokens  class id  name",
        "          0      0          -  n3        ant",
        "          1      1     6 to 6  n1        crane",
        "          0      0          -  n2        crane",
    ]


def test_what_the_filter_kept_is_shown_for_the_projects_own_artifact_only():
    project(n1=["A tall grey bird.", "It is grey."])
    rows = pq.read_table(PARQUET).to_pylist()
    blank = dict.fromkeys(filtered.SCHEMA.names) | {"shortened": False}
    verdicts = [{"kept": True, "rank": 0, "score": 0.8}, {"kept": False, "reason": "similarity"}]
    table = [blank | row | verdict for row, verdict in zip(rows, verdicts, strict=True)]
    columns = {name: [row[name] for row in table] for name in filtered.SCHEMA.names}
    write_table(Path("data/filtered/descriptions.parquet"), columns, filtered.SCHEMA)
    expected = {"kept": 1, "filled": 0, "dropped": {"similarity": 1}, "current": True}
    assert json.loads(good("show", "--json"))["filter"] == expected
    assert json.loads(good("show", PARQUET, "--json"))["filter"] == expected
    other = artifact("other", n1=["A tall grey bird.", "It is grey."])
    assert json.loads(good("show", other, "--json"))["filter"] is None
    Path("data/filtered/descriptions.parquet").write_text("nonsense")
    assert "data/filtered/descriptions.parquet: cannot be read" in bad("show")


def test_an_artifact_without_provenance_is_shown_with_a_remark():
    folder = artifact("a", provenance=False, n1=["A tall grey bird."])
    assert "there is no provenance.json" in good("show", folder)
    assert json.loads(good("show", folder, "--json"))["provenance"] is None


def test_wrong_artifacts_are_one_line_that_names_the_file():
    assert bad("show", "absent").startswith("error: absent: not found")
    assert "data/descriptions: not found" in bad("show")
    Path("empty").mkdir()
    assert "empty/descriptions.parquet: not found" in bad("show", "empty")
    Path("text").write_text("nonsense")
    assert "text: cannot be read as Parquet" in bad("show", "text")
    pq.write_table(pa.table({"class_id": ["n1"]}), "other.parquet")
    assert "other.parquet: expected columns class_id:string, class_name" in bad(
        "show", "other.parquet"
    )
    write_table(Path("none.parquet"), {name: [] for name in SCHEMA.names}, SCHEMA)
    assert "none.parquet: holds no row" in bad("show", "none.parquet")
    columns = {name: [None] for name in SCHEMA.names} | {"class_id": ["n1"]}
    write_table(Path("holes.parquet"), columns, SCHEMA)
    assert "holes.parquet: column 'class_name' has no value in row 0" in bad(
        "show", "holes.parquet"
    )


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("a/provenance.json", "{", "a/provenance.json: not valid JSON"),
        ("a/provenance.json", "[]", "a/provenance.json: expected a JSON object"),
        ("params.yaml", "a: [", "params.yaml: not valid YAML"),
        ("params.yaml", "describe: {dataset: x}", "params.yaml: 'filter.cleaning' is missing"),
        ("params.yaml", PARAMS.replace("min_words: 3", "min_words: 0"), "key 'min_words'"),
        ("data/classes/shapes-train.parquet", "x", "shapes-train.parquet: cannot be read"),
        (
            "data/models/base/clip/open_clip_config.json",
            "{",
            "open_clip_config.json: not valid JSON",
        ),
        ("data/models/base/clip/open_clip_config.json", "{}", "no model_cfg.text_cfg"),
        ("data/models/base/clip/open_clip_config.json", "[]", "no model_cfg.text_cfg"),
        (
            "data/models/base/clip/open_clip_config.json",
            '{"model_cfg": {"text_cfg": {"context_length": "77"}}}',
            "context_length: '77' is no length",
        ),
    ],
)
def test_wrong_surroundings_are_one_line_that_names_the_file(file, content, message):
    project()
    artifact("a", n1=["A tall grey bird."])
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    assert message in bad("show", "a")


def test_two_parts_become_one_artifact_that_says_what_it_was_made_of():
    a = artifact("a", n1=["A tall grey bird."])
    b = artifact("b", provenance=False, n2=["A yellow machine.", "It lifts."], n3=["Six legs."])
    text = good("merge", a, b / "descriptions.parquet", "--output", "out/both")
    assert text == "out/both:\n  4 sentences for 3 classes\n  in the order of their ids\n"
    rows = pq.read_table("out/both/descriptions.parquet").to_pylist()
    assert [row["class_id"] for row in rows] == ["n1", "n2", "n2", "n3"]
    assert sorted(path.name for path in Path("out").rglob("*")) == [
        "both",
        "descriptions.parquet",
        "provenance.json",
    ]
    assert json.loads(Path("out/both/provenance.json").read_text()) == {
        "merged": [
            {
                "sha256": hashlib.sha256((a / "descriptions.parquet").read_bytes()).hexdigest(),
                "classes": 1,
                "sentences": 1,
                "provenance": {"backend": "vllm", "who": "a"},
            },
            {
                "sha256": hashlib.sha256((b / "descriptions.parquet").read_bytes()).hexdigest(),
                "classes": 2,
                "sentences": 3,
                "provenance": None,
            },
        ]
    }
    assert "merged 2" in good("show", "out/both")


def bytes_of(folder: str) -> bytes:
    return (Path(folder) / "descriptions.parquet").read_bytes()


@pytest.mark.parametrize("in_project", [True, False])
def test_merging_is_associative_to_the_byte(in_project):
    if in_project:
        project()
    a = artifact("a", n1=["A tall grey bird."])
    b = artifact("b", n2=["A yellow machine."], n1=["A tall grey bird."])
    c = artifact("c", n3=["Six legs."])
    good("merge", a, b, c, "--output", "whole")
    good("merge", a, b, "--output", "ab")
    good("merge", "ab", c, "--output", "left")
    good("merge", b, c, "--output", "bc")
    good("merge", a, "bc", "--output", "right")
    assert bytes_of("whole") == bytes_of("left") == bytes_of("right")


def test_an_artifact_merged_with_itself_keeps_its_bytes():
    project(n3=["Six legs."], n1=["A tall grey bird.", "Grey."], n2=["A yellow machine."])
    text = good("merge", "data/descriptions", PARQUET, "--output", "again")
    assert bytes_of("again") == Path(PARQUET).read_bytes()
    assert "in the order of data/classes/shapes-train.parquet" in text
    assert "the same in several inputs: n3, n1, n2" in text


def test_a_class_table_that_lacks_a_class_gives_no_order():
    project()
    classes = [*CLASSES, ClassEntry("n0", "bee")]
    a = artifact("a", classes, n0=["Yellow and black."])
    text = good("merge", a, artifact("b", n3=["Six legs."], n1=["Grey."]), "--output", "out")
    assert "of their ids (data/classes/shapes-train.parquet does not have them all)" in text
    class_ids = pq.read_table("out/descriptions.parquet")["class_id"].to_pylist()
    assert class_ids == ["n0", "n1", "n3"]


def test_all_conflicts_are_listed_and_nothing_is_written():
    artifact("a", n1=["Grey."], n2=["Yellow."], n3=["Six legs."])
    artifact("b", n1=["Grey.", "Tall."], n3=["Six legs."])
    artifact("c", [ClassEntry("n2", "crane, a machine")], n2=["Yellow."])
    result = run("merge", "a", "b", "c", "--output", "out")
    assert (result.exit_code, result.stdout) == (1, "")
    lines = result.stderr.splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["class", "id", "name", "[1]", "[2]", "[3]"],
        ["n1", "crane", "1", "2", "-"],
        ["n2", "crane", "/", "crane,", "a", "machine", "1", "-", "1"],
    ]
    assert lines[3] == "[1] = a/descriptions.parquet"
    assert lines[-1] == (
        "error: classes that differ between inputs: 2; remove each from all inputs but one, or "
        "take it from the first that has it with --prefer first; nothing was written"
    )
    assert not Path("out").exists()


def test_prefer_first_takes_the_first_and_is_recorded():
    artifact("a", n1=["Grey."], n2=["Yellow."])
    artifact("b", n1=["Grey.", "Tall."], n3=["Six legs."])
    text = good("merge", "b", "a", "--output", "out", "--prefer", "first")
    assert "from the first input that has them: n1" in text
    rows = pq.read_table("out/descriptions.parquet").to_pylist()
    assert [row["sentence"] for row in rows] == ["Grey.", "Tall.", "Yellow.", "Six legs."]
    provenance = json.loads(Path("out/provenance.json").read_text())
    assert provenance["prefer"] == "first"
    assert provenance["preferred_classes"] == ["n1"]
    good("merge", "a", "a", "--output", "same", "--prefer", "first")
    assert list(json.loads(Path("same/provenance.json").read_text())) == ["merged"]
    assert run("merge", "a", "b", "--output", "x", "--prefer", "last").exit_code == 2


def test_merge_refuses_what_it_cannot_do_in_one_line():
    artifact("a", n1=["Grey."])
    assert "merge: needs two inputs or more" in bad("merge", "a", "--output", "out")
    assert "absent: not found" in bad("merge", "a", "absent", "--output", "out")
    Path("full").mkdir()
    Path("full/notes.txt").write_text("mine")
    for taken in ("full", "full/notes.txt"):
        message = f"{taken}: is there already and not an empty folder; choose another"
        assert message in bad("merge", "a", "a", "--output", taken)
    assert "full/notes.txt/out: cannot be written: " in bad(
        "merge", "a", "a", "--output", "full/notes.txt/out"
    )
    assert Path("full/notes.txt").read_text() == "mine"
    assert sorted(path.name for path in Path().iterdir()) == ["a", "full"]


def test_an_empty_output_folder_is_taken_even_the_current_one(here, monkeypatch):
    artifact("a", n1=["Grey."])
    for output in ("out", "."):
        Path("out").mkdir(exist_ok=True)
        monkeypatch.chdir(here / "out" if output == "." else here)
        good("merge", here / "a", here / "a", "--output", output)
        monkeypatch.chdir(here)
        assert bytes_of("out") == bytes_of("a")
        shutil.rmtree("out")


def captioned(folder: str, **images: list[int]) -> Path:
    """An artifact with a caption of each image, by class."""
    texts = {key: [f"A crane numbered {n}." for n in numbers] for key, numbers in images.items()}
    path = artifact(folder, **texts)
    rows = pq.read_table(path / "descriptions.parquet").to_pylist()
    numbered = [row | {"image": images[row["class_id"]][row["sample_index"]]} for row in rows]
    captions.write_captions(path, numbered)
    return path


def test_show_counts_captions_and_their_images():
    folder = captioned("a", n1=[7, 2, 2], n2=[4])
    assert "captions                    4  of 3 images of 2 classes" in good("show", folder)
    counts = json.loads(good("show", folder, "--json"))["captions"]
    assert counts == {"sentences": 4, "images": 3, "classes": 2}
    (folder / captions.FILE).unlink()
    assert json.loads(good("show", folder, "--json"))["captions"] is None
    assert "captions" not in good("show", folder)


def test_merging_keeps_the_captions_of_every_class():
    a, b, c = captioned("a", n2=[9, 4]), captioned("b", n1=[5]), artifact("c", n3=["Six legs."])
    good("merge", a, b, c, "--output", "whole")
    rows = pq.read_table("whole/captions.parquet").to_pylist()
    assert [(row["class_id"], row["image"], row["sentence"]) for row in rows] == [
        ("n1", 5, "A crane numbered 5."),
        ("n2", 4, "A crane numbered 4."),
        ("n2", 9, "A crane numbered 9."),
    ]
    good("merge", b, c, "--output", "bc")
    good("merge", a, "bc", "--output", "right")
    for name in ("descriptions.parquet", captions.FILE):
        assert (Path("right") / name).read_bytes() == (Path("whole") / name).read_bytes()
    assert "captions                    3  of 3 images of 2 classes" in good("show", "whole")


def test_captions_that_are_not_of_the_artifact_are_one_line():
    folder, other = captioned("a", n1=[7, 2]), captioned("b", n1=[8])
    shutil.copy(other / captions.FILE, folder)
    line = bad("show", folder)
    assert "a/captions.parquet: image 8 of class 'n1': its caption is not in the descr" in line
    assert "captions.parquet: image 8" in bad("merge", folder, other, "--output", "out")
    assert not Path("out").exists()
    (folder / captions.FILE).write_text("nonsense")
    assert "a/captions.parquet: cannot be read as Parquet" in bad("show", folder)


def test_captions_belong_to_no_other_file_of_their_folder():
    folder, other = captioned("a", n1=[7, 2]), artifact("b", n1=["Grey."], n3=["Six legs."])
    file = shutil.copy(other / "descriptions.parquet", folder / "other.parquet")
    figures = json.loads(good("show", file, "--json"))
    assert (figures["file"], figures["captions"]) == ("a/other.parquet", None)
    good("merge", file, artifact("c", n2=["Yellow."]), "--output", "out")
    assert not (Path("out") / captions.FILE).exists()
