"""The acceptance command: all sections in a dry run, and what becomes of failures."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import device_acceptance, measure, results_table
from benchmarks.acceptance import against_released, goals, inputs, variants
from benchmarks.acceptance.context import Context
from benchmarks.acceptance.report import FILE, Report, Result
from benchmarks.acceptance.time_limit import time_limit
from benchmarks.released import ReleasedAmp
from tests.support.pages import first_column

ROOT = Path(__file__).parents[2]
ABSENT = ("dvc", "vllm", "dvclive", "babel", "inflect", "rapidfuzz", "xdist")  # on a bare machine


@pytest.fixture(autouse=True)
def own_flags(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("SAFT_DEVICE", "cpu")
    yield
    torch.use_deterministic_algorithms(False)


def python(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=400,
    )


def content_of(folder: Path) -> Any:
    return json.loads((folder / FILE).read_text())


@pytest.fixture(scope="module")
def dry_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, str, list[str]]:
    """What the documented dry run wrote and printed, started as a file, and the names in DIR."""
    folder = tmp_path_factory.mktemp("acceptance")
    flags = f"--out {folder} --device cpu --tiny".split()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = python("benchmarks/device_acceptance.py", *flags)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr[-3000:]
    # of the processor, not of the clock: other tests run at the same time, and slow each other
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 180
    return content_of(folder), done.stdout, sorted(file.name for file in folder.iterdir())


def test_the_dry_run_has_every_section_and_no_failed_check(dry_run):
    content, _, _ = dry_run
    assert content["failed_checks"] == []
    assert list(content["sections"]) == list(device_acceptance.SECTIONS)
    for name, section in content["sections"].items():
        assert section["result"], name
        assert "error" not in section, name


def test_the_dry_run_leaves_the_json_and_the_profiles_and_nothing_else(dry_run):
    content, _, names = dry_run
    profiled = content["sections"]["hotspots"]["result"].values()
    assert names == sorted([FILE, *(measured["profile"] for measured in profiled)])
    assert len(names) == 3


def test_a_section_that_raises_and_one_that_is_interrupted_leave_none_of_their_files(
    tmp_path, monkeypatch
):
    folders = []

    def raising(context: Context, result: Result, error: type[BaseException]) -> None:
        folders.append(context.scratch)
        assert context.scratch.parent == tmp_path
        (context.scratch / "state.pt").touch()
        raise error

    sections = {
        "raising": (0, partial(raising, error=ValueError)),
        "interrupted": (0, partial(raising, error=KeyboardInterrupt)),
    }
    monkeypatch.setattr(device_acceptance, "SECTIONS", sections)
    with pytest.raises(SystemExit):
        device_acceptance.main(tmp_path, device="cpu", tiny=True)
    assert len(set(folders)) == 2
    assert [file.name for file in tmp_path.iterdir()] == [FILE]


def test_every_variant_that_a_cpu_has_was_measured(dry_run):
    sections = dry_run[0]["sections"]
    trained = sections["training"]["result"]["variants"]
    assert list(trained) == ["bf16", "float32", "unfused"]
    assert trained["float32"]["flipped_signs"] == 0
    assert trained["bf16"]["flipped_signs"] > 0  # bf16 was in effect
    ceiling = sections["ceilings"]["result"]["product_tflop_per_second"]["bf16"]
    flop = sections["training"]["result"]["flop_per_step"]
    released = sections["against_released"]["result"]
    for name, measured in trained.items():
        assert measured["images_per_second"] == pytest.approx(4 / measured["step_seconds"])
        rate = flop / measured["step_seconds"] / 1e12
        assert measured["share_of_bf16_product"] == pytest.approx(rate / ceiling)
        for release, ratio in released["training_variants"][name].items():
            speed = released["variants"][release]["images_per_second"]
            assert ratio == pytest.approx(measured["images_per_second"] / speed)
    for measured in sections["evaluation"]["result"]["variants"].values():
        assert 0 < measured["falling"]["robust_share"] < 1
        assert measured["pgd_100_images_per_second"] > 0


def test_tiny_sizes_are_held_against_no_goal(dry_run):
    content, printed, _ = dry_run
    assert [goal["met"] for goal in content["goals"]] == [None] * 7
    assert all(goal["measured"] > 0 for goal in content["goals"])
    assert "PGD-100, a model that falls at once" in printed


def test_the_tables_hold_what_was_measured(dry_run):
    content, _, _ = dry_run
    text = results_table.tables(content)
    assert "dry run in tiny sizes" in text
    assert "Failed checks: none." in text
    speed = content["sections"]["training"]["result"]["variants"]["bf16"]["images_per_second"]
    (row,) = [line for line in text.splitlines() if line.startswith("| bf16 | ")][:1]
    assert results_table._number(speed) in row
    assert "Cut off" not in text


def test_the_tables_of_a_kept_run_say_where_it_was_cut_off_and_each_variants_own_share():
    text = results_table.read(ROOT / "benchmarks/results/h100-2026-11-26-before-graphs.json")
    assert "Failed checks: none.\n" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| float32 | 0.313 ")]
    assert row == "| float32 | 0.313 | 0.07 | 409 | 406 | 0.698 | 10.5 | - |"
    graphs = results_table.read(ROOT / "benchmarks/results/h100-2026-11-26.json")
    assert "Cut off in: against_released.\n" in graphs
    assert "| bf16, batch 512 | 0.000159 | 59.4 | 1,047 | 11 | 18.6 |" in graphs


def test_the_page_holds_every_row_that_is_printed_of_its_main_run():
    text = results_table.read(ROOT / "benchmarks/results/h100-2026-11-27.json")
    tables, _, _ = text.partition("| one large matrix product |")  # told in prose
    rows = [line for line in tables.splitlines() if line.startswith("|")]
    assert len(rows) == 7 + 6 + 11 + 3 + 6 + 5 * len(("head", "rule"))
    page = (ROOT / "docs/performance.md").read_text().splitlines()
    assert [row for row in rows if row not in page] == []


def test_a_failing_check_is_named_and_ends_in_exit_status_1(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(inputs, "TEXT_TOLERANCE", -1.0)
    with pytest.raises(SystemExit) as exit_info:
        device_acceptance.main(tmp_path, device="cpu", tiny=True, only="texts")
    assert exit_info.value.code == 1
    assert list(content_of(tmp_path)["sections"]) == ["environment", "texts"]
    (check,) = content_of(tmp_path)["failed_checks"]
    assert check.startswith("text features ")
    told = capsys.readouterr().err
    assert check in told
    assert "Traceback" not in told


def test_a_section_that_raises_loses_nothing_else(tmp_path, monkeypatch):
    def raising(context: Context, result: Result) -> None:
        result["before"] = 1
        raise ValueError("planted")

    def after(context: Context, result: Result) -> None:
        result["after"] = 2

    def first(context: Context, result: Result) -> None:
        result["first"] = 0

    sections = {"first": (0, first), "raising": (0, raising), "after": (0, after)}
    monkeypatch.setattr(device_acceptance, "SECTIONS", sections)
    with pytest.raises(SystemExit) as exit_info:
        device_acceptance.main(tmp_path, device="cpu", tiny=True)
    assert exit_info.value.code == 1
    content = content_of(tmp_path)
    results = {name: section["result"] for name, section in content["sections"].items()}
    assert results == {"first": {"first": 0}, "raising": {"before": 1}, "after": {"after": 2}}
    assert "ValueError: planted" in content["sections"]["raising"]["error"]
    assert content["failed_checks"] == ["section raising raised ValueError: planted"]


def test_without_budget_sections_are_skipped_and_nothing_failed(tmp_path):
    device_acceptance.main(tmp_path, budget=0, device="cpu", tiny=True)
    sections = content_of(tmp_path)["sections"]
    assert sections.pop("environment")["result"]["device"] == "cpu"
    assert {frozenset(section) for section in sections.values()} == {frozenset({"skipped"})}
    assert "Skipped, out of budget: pixels, " in results_table.tables(content_of(tmp_path))


def test_an_interrupted_run_keeps_what_it_had(tmp_path, monkeypatch, capsys):
    def interrupted(context: Context, result: Result) -> None:
        raise KeyboardInterrupt

    def first(context: Context, result: Result) -> None:
        result["first"] = 0

    sections = {"first": (0, first), "interrupted": (0, interrupted)}
    monkeypatch.setattr(device_acceptance, "SECTIONS", sections)
    with pytest.raises(SystemExit) as exit_info:
        device_acceptance.main(tmp_path, device="cpu", tiny=True)
    assert exit_info.value.code == 130
    assert "has the sections before" in capsys.readouterr().err
    assert content_of(tmp_path)["sections"] == {
        "first": {"result": {"first": 0}, "seconds": pytest.approx(0, abs=1)}
    }


def test_a_run_that_is_terminated_prints_the_goals_so_far(tmp_path, monkeypatch, capsys):
    def terminated(context: Context, result: Result) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    results = {name: section["result"] for name, section in sections_with(4400, 200, 0.01).items()}

    def trained(context: Context, result: Result) -> None:
        result |= results["training"]

    sections = {"training": (0, trained), "terminated": (0, terminated)}
    monkeypatch.setattr(device_acceptance, "SECTIONS", sections)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as exit_info:
        device_acceptance.main(tmp_path, device="cpu", tiny=True)
    assert exit_info.value.code == 130
    assert signal.getsignal(signal.SIGTERM) is before
    (goal,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("training  ")]
    assert goal.split()[1:] == [">=", "4,000", "images/s", "4400", "yes", "bf16"]


def test_variants_that_the_budget_has_no_time_for_are_recorded_as_skipped(tmp_path, monkeypatch):
    monkeypatch.setattr(variants, "SECONDS", 1e9)
    monkeypatch.setattr(against_released, "SECONDS_LEFT", 1e9)
    only = "training,evaluation,against_released"
    chosen = "bf16,float32"
    device_acceptance.main(tmp_path, device="cpu", tiny=True, only=only, variants=chosen)
    content = content_of(tmp_path)
    assert content["failed_checks"] == []
    for name in only.split(","):
        entries = content["sections"][name]["result"]["variants"]
        assert len(entries) == (3 if name == "against_released" else 2)
        assert all(set(measured) == {"skipped"} for measured in entries.values())


def test_a_released_variant_that_does_not_end_is_cut_off_and_the_next_measured(
    tmp_path, monkeypatch
):
    def first_step(variant: Any, attack_steps: int) -> Any:
        if isinstance(variant, ReleasedAmp):
            raise TimeoutError("not done within 9 s")
        return measure.first_step(variant, attack_steps)

    monkeypatch.setattr(against_released, "first_step", first_step)
    device_acceptance.main(tmp_path, device="cpu", tiny=True, only="against_released")
    content = content_of(tmp_path)
    assert content["failed_checks"] == []
    result = content["sections"]["against_released"]["result"]
    assert (result["classes"], result["captions"]) == (5, 2)
    assert set(result["variants"]["released_amp"]) == {
        "build_seconds", "first_ascent_seconds", "cut_off"
    }  # fmt: skip
    assert result["variants"]["released"]["images_per_second"] > 0
    assert "released / pipeline" in result
    assert "released_amp / pipeline" not in result


def test_a_time_limit_ends_what_lasts_longer_and_leaves_the_rest_alone():
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(TimeoutError, match="not done within 0 s"), time_limit(0.1):
        time.sleep(60)
    with time_limit(60):
        pass
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_the_file_is_complete_after_every_section(tmp_path):
    report = Report(tmp_path, budget=60)
    report.section("one", 0, lambda result: result.update(value=1))
    assert content_of(tmp_path)["sections"]["one"]["result"] == {"value": 1}
    report.section("two", 0, lambda result: result.update(value=2))
    assert list(content_of(tmp_path)["sections"]) == ["one", "two"]


def test_an_unknown_section_and_a_missing_device_are_one_line(tmp_path, capsys):
    for changes, message in (
        ({"device": "cpu", "only": "speed"}, "--only speed: no such section"),
        ({"device": "cpu", "variants": "fp8"}, "--variants fp8: no such variant; bf16, bf16 eager"),
        ({"device": "cuda:99"}, "no such CUDA device"),
    ):
        with pytest.raises(SystemExit) as exit_info:
            device_acceptance.main(tmp_path, **changes)
        assert exit_info.value.code == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / FILE).exists()
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(SystemExit):
        device_acceptance.main(file, device="cpu")
    assert "is a file; name a folder" in capsys.readouterr().err


def test_it_starts_as_a_module_where_other_stages_packages_are_absent():
    blocked = f"import sys\nfor name in {ABSENT}: sys.modules[name] = None\n"
    modules = "import importlib, pkgutil, benchmarks.acceptance as package\n"
    modules += "for m in pkgutil.iter_modules(package.__path__, package.__name__ + '.'):\n"
    modules += "    importlib.import_module(m.name); print(m.name)\n"
    run = "import runpy; sys.argv = ['x', '--help']\n"
    run += "runpy.run_module('benchmarks.device_acceptance', run_name='__main__')\n"
    done = python("-c", blocked + modules + "import benchmarks.results_table\n" + run)
    assert done.returncode == 0, done.stderr
    assert "benchmarks.acceptance.training" in done.stdout
    assert "--budget" in done.stdout


def sections_with(training: float, pgd: float, withstood: float, tiny: bool = False) -> Any:
    falling = {"images_per_second": 10 * pgd, "robust_share": withstood}
    evaluated = {"pgd_100_images_per_second": pgd, "falling": falling}
    loop = {"images_per_second": 0.9 * training}
    results: dict[str, Any] = {
        "environment": {"tiny": tiny},
        "training": {
            "batch": 128,
            "variants": {
                "float32": {"images_per_second": training / 10},
                "bf16": {
                    "images_per_second": training,
                    "loop": loop,
                    "share_of_bf16_product": 0.4,
                },
                "bf16+compile": {"error": "planted"},
            },
        },
        "evaluation": {"variants": {"bf16, batch 256": evaluated}},
        "against_released": {
            "batch": 64,
            "classes": 200,
            "variants": {"released_amp": {"images_per_second": 200}},
        },
    }
    return {name: {"result": result} for name, result in results.items()}


def test_goals_take_the_fastest_variant_and_say_what_is_derived():
    reached = {goal.name: goal for goal in goals.goals(sections_with(4400, 200, 0.01))}
    assert [goal.met for goal in reached.values()] == [True] * 6 + [None]
    assert reached["training"].basis == "bf16"
    assert reached["training against the release"].measured == pytest.approx(22)
    fine_tuning = reached["fine-tuning, 10 x 100,000 images"]
    assert fine_tuning.measured == pytest.approx(1e6 / (0.9 * 4400))
    assert fine_tuning.basis == "derived from images/s of bf16, whole loop"
    assert reached["PGD-100, 10,000 images, nothing dropped"].measured == pytest.approx(50)
    assert reached["training, share of measured bf16 product speed"].measured == 0.4


def test_a_missed_goal_says_no_and_an_unmeasured_one_that_it_was_not_measured():
    missed = goals.goals(sections_with(400, 20, 0.01))
    assert [goals.verdict(goal) for goal in missed] == ["no", "no", "no", "no", "no", "no", "-"]
    nothing = goals.goals({})
    assert {goals.verdict(goal) for goal in nothing} == {"not measured"}


def test_a_ratio_with_fewer_classes_than_the_goals_can_only_meet_it():
    for training, verdict in ((4400, "yes"), (400, "-")):
        sections = sections_with(training, 200, 0.01)
        sections["against_released"]["result"]["classes"] = 50
        (goal,) = [g for g in goals.goals(sections) if g.name == "training against the release"]
        assert goals.verdict(goal) == verdict
        assert goal.basis == "bf16 against released_amp, batch 64, 50 classes"


def test_a_model_that_withstands_says_nothing_about_one_that_falls_at_once():
    (goal,) = [g for g in goals.goals(sections_with(4400, 400, 0.5)) if "falls" in g.name]
    assert goal.met is None
    assert "50.0% withstood" in goal.basis


def test_the_packages_of_the_page_are_those_of_the_lock():
    lock = (ROOT / "requirements.lock").read_text().splitlines()
    page = (ROOT / "docs/performance.md").read_text()
    rows = re.findall(r"^\| ([\w.-]+) \| (\d+\.\d+\.\d+) \|$", page, re.MULTILINE)
    assert len(rows) == 10
    for name, version in rows:
        assert f"{name}=={version}" in lock


def test_the_page_names_every_section():
    assert first_column("benchmarks/README.md", "section") == list(device_acceptance.SECTIONS)


def test_tables_of_another_file_are_refused(tmp_path, capsys):
    other, broken = tmp_path / "other.json", tmp_path / "broken.json"
    other.write_text('{"steps": {}}')
    broken.write_text("{")
    cases = {other: "name an acceptance.json", broken: "no JSON", tmp_path / "none": "not found"}
    for file, message in cases.items():
        with pytest.raises(SystemExit) as exit_info:
            results_table.main(file)
        assert exit_info.value.code == 1
        assert message in capsys.readouterr().err
