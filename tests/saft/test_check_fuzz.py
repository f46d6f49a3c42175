"""`saft check` on broken params files: problems in a list, and never a traceback.

`make test` breaks every place in one of the ways; `pytest -m campaign` with this file in all of
them.
"""

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.common.params import read_params
from saft.check import command as check_cli
from saft.check import dvc, plan, stages
from saft.check import parts as checks
from tests.support.check_project import entered
from tests.support.project import make

VALUES = {"null": None, "list": ["x"], "text": "x", "number": 7, "minus": -1, "nan": math.nan,
          "section": {"x": 1}}  # fmt: skip
BREAKS = ("gone", *VALUES)
STAGES = ("prepare@pairs", "prepare@digits", "pretrain@small", "model@base", "describe", "filter",
          "texts@template", "embed_training", "finetune", "record", "about@base",
          "embed@base-template", "evaluate@digits-pgd-template-4-base",
          "evaluate@digits-pgd-template-4-finetuned", "check@shapes-held-out-finetuned",
          "report")  # fmt: skip
Keys = tuple[str, ...]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return make(tmp_path_factory.mktemp("project"))


@pytest.fixture
def frozen_params(checkout, monkeypatch):
    """What params.yaml holds, to be broken in place; what takes long stands still."""
    values = read_params(checkout / "params.yaml")

    def read(*_: Path) -> dict[str, Any]:
        return copy.deepcopy(values)

    known: dict[str, Any] = {}
    real = plan.measure_passes

    def passes(module: Any, *arguments: Any) -> Any:
        key = f"{module.__name__} {arguments}"
        return known[key] if key in known else known.setdefault(key, real(module, *arguments))

    monkeypatch.setattr(
        dvc, "stages_to_run", lambda: dvc.Runs(STAGES, "", Path(".dvc/cache"), "copy")
    )
    monkeypatch.setattr(plan, "read_params", read)
    monkeypatch.setattr("pipeline.common.params.read_params", read)
    monkeypatch.setattr(plan, "measure_passes", passes)
    monkeypatch.setattr(stages, "speeds", lambda _: {"float32": 1e12, "bf16": 2e12})
    yield from (values for _ in entered(checkout, monkeypatch))


def paths(values: dict[str, Any], above: Keys = ()) -> Iterator[Keys]:
    """Every section and every leaf, by its keys."""
    for key, value in values.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from paths(value, (*above, key))


def checked(capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit status and output of the command itself."""
    with pytest.raises(SystemExit) as exited:
        check_cli.main(as_json=False)
    assert isinstance(exited.value.code, int)
    return exited.value.code, capsys.readouterr().out


@pytest.mark.parametrize("kind", BREAKS)
def test_one_broken_place_at_a_time(frozen_params, kind, capsys):
    """Every eighth place, and another eighth for the next kind."""
    break_each(frozen_params, kind, capsys, slice(BREAKS.index(kind), None, len(BREAKS)))


@pytest.mark.campaign
@pytest.mark.parametrize("kind", BREAKS)
def test_every_broken_place(frozen_params, kind, capsys):
    break_each(frozen_params, kind, capsys, slice(None))


def break_each(frozen_params, kind: str, capsys, places: slice) -> None:
    assert checked(capsys)[0] == 0
    for keys in list(paths(frozen_params))[places]:
        above = frozen_params
        for key in keys[:-1]:
            above = above[key]
        before = dict(above)
        if kind == "gone":
            del above[keys[-1]]
        else:
            above[keys[-1]] = VALUES[kind]
        status, text = checked(capsys)
        where = ".".join(keys) + f" {kind}\n{text}"
        assert checks.UNEXPECTED not in text, where
        assert all(f"\n{title}:\n" in f"\n{text}" for title in checks.PARTS), where
        assert (status, "\nOK\n" in text) == (0, True) or (status, "\n  1. " in text) == (1, True)
        above.clear()
        above.update(before)


def test_parts_that_need_no_broken_section_say_all_they_know(frozen_params, capsys):
    del frozen_params["finetune"]
    frozen_params["describe"] = None
    _, text = checked(capsys)
    assert "250 images, 110 classes" in text
    assert "no stage uses it" not in text, "what the broken sections use is not known"
    assert "image encoder: 0.0 million weights" in text
    assert "  1. params.yaml: missing section 'finetune', which makes 'finetuned' of " in text
    assert "  2. params.yaml: describe: expected a section with keys, found None\n" in text
    assert "  3. " not in text, "what follows from them is not listed"
