"""`saft cost`: a line for each stage that was measured, and a word on the others."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline.clip.folders import MODEL
from pipeline.cost.files import Cost, write_cost
from pipeline.results.files import checks_file, evaluation_folder
from saft.cost import command as cost_cli
from saft.cost.table import HEAD, Recorded, markdown
from tests.support.project import DEMO

ROOT = Path(__file__).parents[2]


def cost(stage: str, **changes: Any) -> dict[str, Any]:
    record = Cost(
        stage=stage,
        device="A processor",
        threads=2,
        processes=1,
        seconds=1234.56,
        images=20_000,
        images_per_second=16.2,
        peak_memory_bytes=3 * 2**30,
        energy_joules=None,
        work={"float32": {"plain": 1, "ascents": 2, "descents": 0}},
        flop=1.5e15,
        matrix_flop_per_second={"float32": 75e9, "bf16": 210e9},
        share=0.314,
    )
    return record._asdict() | changes


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_line_says_all_of_a_stage() -> None:
    head, rule, line, total = markdown([Recorded("finetune", cost("finetune"), True)]).splitlines()[
        :4
    ]
    assert cells(head) == list(HEAD)
    assert len(cells(rule)) == len(cells(total)) == len(HEAD)
    assert cells(line) == [
        "finetune", "1,234.6", "20,000", "16.2", "3,072", "–", "1,500.0",
        "31% of 210 GFLOP/s bf16 and 75 GFLOP/s float32", "A processor, 2 threads",
    ]  # fmt: skip


def test_seconds_are_summed_and_energy_where_all_have_it() -> None:
    first, second = cost("a", energy_joules=1000.0), cost("b", energy_joules=500.0, seconds=0.44)
    for other, joules in ((second, "1,500"), (second | {"energy_joules": None}, "–")):
        table = markdown([Recorded("a", first, True), Recorded("b", other, True)])
        total = cells(table.splitlines()[4])
        assert (total[0], total[1], total[5]) == ("sum", "1,235.0", joules)
    assert cells(markdown([Recorded("a", first, True)]).splitlines()[2])[-1] == "A processor"


def test_several_processes_are_told() -> None:
    table = markdown([Recorded("finetune", cost("finetune", processes=8), True)])
    assert cells(table.splitlines()[2])[-1] == "A processor, 2 threads, 8 processes"


def test_what_is_not_known_is_a_dash() -> None:
    unknown = cost("finetune", flop=None, share=None)
    assert cells(markdown([Recorded("finetune", unknown, True)]).splitlines()[2])[6:8] == ["–", "–"]


def test_stages_without_a_record_are_named() -> None:
    cached = [Recorded(f"evaluate@{n}", None, True) for n in range(6)]
    text = markdown([*cached, Recorded("check@a", None, False)])
    assert text == (
        "Not measured here, but from DVC's cache or from another machine: evaluate@0, evaluate@1, "
        "evaluate@2, evaluate@3 and 2 more; `dvc repro -f -s STAGE` computes one again "
        "(stages/dvc.yaml:finetune is that stage).\n"
        "Not computed yet: check@a.\n"
    )


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Outputs of every stage but one; a record of the model, an old one of a check."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    values = YAML(typ="safe").load(DEMO)
    values["evaluate"].update(
        datasets=["a", "b"], attacks=["pgd"], texts=["t"], epsilons_255=[4, 0.5]
    )
    values["evaluate"]["checks"]["datasets"] = ["a"]
    with Path("params.yaml").open("w") as file:
        YAML().dump(values, file)
    folder = evaluation_folder("a", "t", "pgd", 4, "base")
    for path in (MODEL / "open_clip_model.safetensors", checks_file("a", "base"),
                 folder / "metrics.json"):  # fmt: skip
        path.parent.mkdir(parents=True)
        path.write_text(str(path))
    write_cost(Cost(**cost("finetune")), MODEL / "open_clip_model.safetensors")
    write_cost(Cost(**cost("evaluate@a-pgd-t-4-base")), folder)
    return tmp_path


def test_the_stages_of_params_yaml_are_looked_for(project: Path, capsys) -> None:
    cost_cli.main()
    table = cost_cli.FILE.read_text()
    assert [cells(line)[0] for line in table.splitlines()[2:5]] == [
        "finetune", "evaluate@a-pgd-t-4-base", "sum"
    ]  # fmt: skip
    assert "another machine: check@a-base;" in table
    assert (
        "Not computed yet: evaluate@a-pgd-t-4-finetuned, evaluate@a-pgd-t-0.5-base, "
        "evaluate@a-pgd-t-0.5-finetuned, evaluate@b-pgd-t-4-base and 4 more." in table
    )
    assert capsys.readouterr().out == f"{table}\nreports/cost.md: the same table\n"


def test_a_record_of_an_earlier_version_counts_as_none(project: Path) -> None:
    for path in Path(".scratch/costs").iterdir():
        path.write_text(json.dumps({"method": "saft", "seconds_per_epoch": 1.0}))
    cost_cli.main()
    assert "machine: finetune, evaluate@a-pgd-t-4-base, check@a-base;" in cost_cli.FILE.read_text()


def test_a_broken_record_is_one_line_and_leaves_the_old_table(project: Path, capsys) -> None:
    cost_cli.main()
    before = cost_cli.FILE.read_bytes()
    for path in Path(".scratch/costs").iterdir():
        path.write_text("{")
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        cost_cli.main()
    assert caught.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("error: saft cost: .scratch/costs/")
    assert error.count("\n") == 1
    assert cost_cli.FILE.read_bytes() == before


def test_git_never_sees_the_table() -> None:
    command = ["git", "check-ignore", "-q", str(cost_cli.FILE)]
    assert subprocess.run(command, cwd=ROOT).returncode == 0


def test_help_names_it_without_torch() -> None:
    code = "import sys; import saft.app as cli; assert 'torch' not in sys.modules; "
    code += "cli.app(['cost', '--help'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "seconds, images/s" in done.stdout
