"""The scaling benchmark: its line, its table, and two points of each kind of work."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import scaling
from benchmarks.scaling import AXES, Took, Work, as_text, fit, measure

CPU = torch.device("cpu")


def test_the_line_goes_through_points_on_a_line() -> None:
    line = fit([1, 2, 5, 9], [3.5, 5.5, 11.5, 19.5])
    assert line.fixed == pytest.approx(1.5)
    assert line.slope == pytest.approx(2.0)
    assert line.apart == pytest.approx(0, abs=1e-9)


def test_a_point_beside_the_line_is_told() -> None:
    assert fit([1, 2, 3, 4], [1.0, 2.0, 6.0, 4.0]).apart > 0.2


def test_the_fastest_run_counts_and_points_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[Work] = []

    def train(work: Work, _: torch.device) -> Took:
        requested.append(work)
        slower = 1.0 if len(requested) <= 2 else 0.0
        return Took(work.images + slower, 100.0 - work.images)

    monkeypatch.setattr(scaling, "train", train)
    works = [Work(images=4), Work(images=8)]
    axis = measure({"training: images": ("images", works)}, 2, CPU)["training: images"]
    assert requested == [*works, *works]
    assert axis["seconds"] == [4.0, 8.0]
    assert axis["line"] == pytest.approx({"fixed": 0, "slope": 1, "apart": 0}, abs=1e-9)
    assert axis["clock"] == "processor"
    on_gpu = measure({"training: images": ("images", works)}, 1, torch.device("cuda"))
    assert on_gpu["training: images"]["seconds"] == [96.0, 92.0]


def test_both_kinds_of_work_run_and_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    axes = {
        "training: images": ("images", [Work(images=n, classes=3) for n in (4, 40)]),
        "evaluation: images": ("images", [Work(images=n, classes=3, iterates=2) for n in (4, 40)]),
        "evaluation: processes": (
            "processes",
            [Work(images=4, classes=3, iterates=2, processes=n) for n in (1, 2)],
        ),
    }
    axes_measured = measure(axes, 1, CPU)
    for name in list(axes)[:2]:
        first, second = axes_measured[name]["seconds"]
        assert 0 < first < second
    assert axes_measured["evaluation: processes"]["line"] is None
    assert min(axes_measured["evaluation: processes"]["seconds"]) > 0
    table = as_text({"axes": axes_measured}).splitlines()
    assert [line.split(" | ")[0] for line in table[2:]] == [f"| {name}" for name in axes]


def test_every_axis_changes_one_thing() -> None:
    for key, works in AXES.values():
        same = {work._replace(**{key: 1}) for work in works}
        assert len(same) == 1
        assert len({getattr(work, key) for work in works}) == len(works) >= 2


@pytest.mark.parametrize(
    "file", sorted(Path(__file__).parents[2].glob("benchmarks/results/scaling*"))
)
def test_the_page_has_the_table_of_the_kept_result(file: Path) -> None:
    page = (file.parents[2] / "docs/scaling.md").read_text(encoding="utf-8")
    assert as_text(json.loads(file.read_text())) in page
    assert file.name in page
