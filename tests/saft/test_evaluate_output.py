"""What `saft evaluate` prints, and reads from DVC's cache."""

import re

import pytest

from pipeline.common.errors import UserError
from pipeline.common.params import read_params
from pipeline.results.evaluated import read_evaluated
from saft.dvc_experiments import fetch
from saft.evaluation import table
from tests.support.project import DEMO
from tests.support.report_inputs import ATTACKS, EPSILON, make_tree, write_set


@pytest.fixture
def demo():
    return read_params(DEMO)


def test_the_table_tells_of_every_set_how_many_images_it_has(tmp_path, monkeypatch):
    make_tree(tmp_path)
    strengths = {"base": 0.02, "finetuned": 0.7}
    write_set(tmp_path, "shapes", 300, strengths, 1)
    write_set(tmp_path, "digits", 120, strengths, 2)
    monkeypatch.chdir(tmp_path)
    setting = ("template", list(ATTACKS), EPSILON, list(strengths))
    both = [read_evaluated(name, *setting) for name in ("shapes", "digits")]
    lines = table.markdown(both, "base").splitlines()
    assert "| `shapes` (300 images, 16² pixels) | 4/255 | base |" in lines[2]
    assert "| `digits` (120 images, 16² pixels) | 4/255 | base |" in lines[4]
    assert not re.search("300|120", table.caption(both))


def test_checks_are_told_and_that_there_is_no_control(demo):
    demo["evaluate"]["models"] = ["base", "finetuned"]
    line = "Checks of the attack: 22 passed, 0 failed.\n"
    assert table.checks_lines({"passed": 22, "failed": 0}, demo) == line
    demo["models"]["base"]["defended"] = "unknown"
    failed, control = table.checks_lines({"passed": 1, "failed": 2}, demo).splitlines()
    assert failed == "Checks of the attack: 1 passed, 2 failed (the report names them)."
    assert control.startswith("no undefended control: ")


def test_what_to_do_is_said_by_the_command_that_reads(tmp_path):
    with pytest.raises(UserError, match=r"^experiment nothing-such cannot be read \([^\n]+\)$"):
        fetch("nothing-such", ["params.yaml"], tmp_path)
    with pytest.raises(UserError, match=r"\); run it again$"):
        fetch("nothing-such", ["params.yaml"], tmp_path, "run it again")
