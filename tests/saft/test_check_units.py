"""`saft check`: radii in 1/255 that look like fractions, and devices that are left alone."""

import pytest
import torch
from ruamel.yaml import YAML

from pipeline.clip import device
from saft.check import memory, units
from saft.check.plan import Plan
from saft.use import profiles
from tests.support.check_project import change, check
from tests.support.project import DEMO, ROOT

PROFILES = sorted(file.stem for file in (ROOT / "profiles").glob("*.yaml"))


def test_a_radius_that_looks_like_a_fraction_is_warned_of(project):
    change(evaluate__epsilons_255=[4, 0.0157])
    text = check(0)
    assert (
        "warning: params.yaml: evaluate.epsilons_255: 0.0157 means 0.0157/255 and looks like a "
        "fraction; if 0.0157 of the pixel range is meant, write 4.003\n"
    ) in text
    assert text.count("looks like a fraction") == 1


def written(tmp_path, **changes) -> Plan:
    """The demo's parameters with keys "section__key" changed."""
    values = YAML(typ="safe").load(DEMO.read_text())
    for path, value in changes.items():
        *parents, key = path.split("__")
        section = values
        for parent in parents:
            section = section[parent]
        section[key] = value
    file = tmp_path / "params.yaml"
    with file.open("w") as stream:
        YAML().dump(values, stream)
    return Plan(file)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"evaluate__epsilons_255": [1 / 255]}, "evaluate.epsilons_255"),
        ({"evaluate__epsilons_255": [16 / 255]}, "evaluate.epsilons_255"),
        ({"evaluate__epsilons_255": [0.5], "evaluate__norm": "l2"}, "evaluate.epsilons_255"),
        ({"evaluate__checks__epsilons_255": [2, 0.0078]}, "evaluate.checks.epsilons_255"),
        ({"finetune__attack__epsilon_255": 0.0039}, "finetune.attack.epsilon_255"),
    ],
)
def test_every_radius_is_looked_at(tmp_path, changes, key):
    plan = written(tmp_path, **changes)
    assert any(f": {key}: " in line for line in units.warnings(plan))


def test_radii_in_use_are_not(tmp_path):
    for changes in (
        {"evaluate__epsilons_255": [0.25, 0.5, 1, 2, 4, 8, 16]},
        {"evaluate__norm": "l2", "evaluate__epsilons_255": [25.5, 127.5],
         "evaluate__checks__epsilons_255": [64, 128]},
        {"evaluate__models": ["base"], "finetune__attack__epsilon_255": 0.0039},
    ):  # fmt: skip
        assert units.warnings(written(tmp_path, **changes)) == []
    broken = written(tmp_path, evaluate__epsilons_255="4", finetune__attack__norm="l7")
    assert units.warnings(broken) == []


@pytest.mark.parametrize("profile", PROFILES)
def test_no_profile_is_warned_of(profile, tmp_path):
    file = tmp_path / "params.yaml"
    with file.open("w") as stream:
        YAML().dump(profiles.find(profile).values, stream)
    assert units.warnings(Plan(file)) == []


@pytest.fixture
def two_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name in ("SAFT_DEVICES", "RANK"):
        monkeypatch.delenv(name, raising=False)


def test_of_two_visible_devices_one_is_used_and_that_is_said(two_devices, monkeypatch):
    said = device.one_of_several(torch.device("cuda"))
    assert said.startswith("computes on cuda:0 alone, torch sees 2 CUDA devices: SAFT_DEVICES ")
    assert "SAFT_PROCESSES finetune (docs/several-gpus.md)" in said
    assert device.one_of_several(torch.device("cuda:1")) == "", "chosen by its number"
    assert device.one_of_several(torch.device("cpu")) == ""
    monkeypatch.setenv("SAFT_DEVICES", "cuda:0,cuda:1")
    assert device.one_of_several(torch.device("cuda")) == "", "shared out"
    monkeypatch.delenv("SAFT_DEVICES")
    monkeypatch.setenv("RANK", "0")
    assert device.one_of_several(torch.device("cuda")) == "", "one of several processes"
    monkeypatch.delenv("RANK")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert device.one_of_several(torch.device("cuda")) == ""


def test_every_stage_says_so(two_devices, monkeypatch, capsys):
    monkeypatch.setattr(device, "pick_device", lambda: torch.device("cuda"))
    monkeypatch.setattr(device, "enable_determinism", lambda: None)
    assert device.deterministic_device() == torch.device("cuda")
    assert "computes on cuda:0 alone, torch sees 2 CUDA devices" in capsys.readouterr().out


def test_saft_check_says_so(project, monkeypatch):
    asked = []

    def remark(chosen):
        asked.append(chosen)
        return "computes on cuda:0 alone"

    assert "computes on cuda:0 alone" not in memory.memory(Plan()).lines
    monkeypatch.setattr(memory, "one_of_several", remark)
    assert "computes on cuda:0 alone" in memory.memory(Plan()).lines
    assert asked == [torch.device("cpu")]
