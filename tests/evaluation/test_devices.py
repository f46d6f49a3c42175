"""An evaluation over several devices or machines against one process: the same verdicts."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from pipeline.attacks import autoattack, pgd
from pipeline.clip.folders import MODEL
from pipeline.common.errors import UserError
from pipeline.evaluation import autoattack_library, devices, parts
from pipeline.evaluation.devices import device_names, distribute, workers
from pipeline.evaluation.interface import Outcome, Targets
from pipeline.evaluation.outcomes import merge, part_of, positions
from pipeline.evaluation.worker import Subject
from pipeline.evaluation.zero_shot_classifier import load_classifier
from pipeline.images.image_set import open_images
from pipeline.results.files import checks_file, evaluation_folder
from pipeline.splits.even_choice import evenly_spaced
from pipeline.zeroshot import text_sets as embed
from stages import check, evaluate
from tests.support.classifiers import CPU, OURS, attack, make_targets, settings
from tests.support.interrupts import hear_interrupts
from tests.support.launches import alive, environment, lines, wait_for
from tests.support.tiny_project import tiny_project, write_params

ROOT = Path(__file__).parents[2]
EVALUATED = "tiny", "pgd", "template", "4", "base"
TEXTS, _ = embed.pair_files("base", "template", "tiny")
VERDICTS = evaluation_folder("tiny", "template", "pgd", 4, "base")
CHECKED = checks_file("tiny", "base")


@pytest.fixture
def project(packed: Path, clip_folder: Path) -> Path:
    folder = tiny_project(packed, clip_folder)
    write_params(
        folder,
        **{
            "evaluate.examples": 3,
            "evaluate.last_images": 4,
            "evaluate.options.pgd.steps": 5,
            "evaluate.attacker": "unseen",
            "evaluate.checks.steps": 4,
            "evaluate.checks.epsilons_255": [1, 8],
        },
    )
    return folder


def team_settings(count: int) -> Any:
    follow = np.zeros(count, dtype=bool)
    follow[evenly_spaced(count, 4)] = True
    return settings(
        count, batch_size=4, epsilon=2 / 255, follow=follow, examples=evenly_spaced(count, 3)
    )


def assert_same(first: Outcome, second: Outcome, name: str) -> None:
    for field in ("fooled_at", "prediction", "last_prediction"):
        assert getattr(first, field).tolist() == getattr(second, field).tolist(), (name, field)
    for field in ("margin", "confidence", "zero_gradient", "perturbations"):
        np.testing.assert_allclose(
            getattr(first, field), getattr(second, field), atol=1e-4, err_msg=f"{name} {field}"
        )
    assert first.note == second.note


def test_all_attacks_give_the_verdicts_of_one_process(project, monkeypatch):
    """Own attacks image by image, the library's by whole calls (here of 4 images)."""
    images = open_images("tiny")
    ids = [class_entry.class_id for class_entry in images.classes]
    texts = embed.read_texts(TEXTS, ids)
    load = partial(load_classifier, MODEL, texts, texts, images.pixels.shape[-1], False)
    classifier, numbers = load(CPU), np.arange(len(images.labels))
    targets = Targets(images.pixels, numbers, images.labels)
    told = team_settings(len(numbers))
    fooled = []
    with workers(["cpu", "cpu"]) as team:
        assert {worker.device for worker in team} == {"cpu"}
        for name in OURS:
            module, options = attack(name, steps=4)
            alone = module.run(classifier, targets, options, told)
            both = distribute(team, module, Subject(load, "tiny"))(
                classifier, targets, options, told
            )
            assert_same(alone, both, name)
            fooled.append((alone.fooled_at >= 0).mean())
        pids = [worker.process.pid for worker in team]
    assert 0 < np.mean(fooled) < 1, "verdicts of both kinds"
    assert not any(alive(pid) for pid in pids)


def test_the_librarys_calls_stay_whole(monkeypatch):
    monkeypatch.setattr(autoattack_library, "IMAGES_AT_ONCE", 10)
    assert autoattack.images_per_call(4) == 8
    rows = positions(27, 2, autoattack, 4)
    assert rows[0].tolist() == [*range(8), *range(16, 24)]
    assert rows[1].tolist() == [*range(8, 16), *range(24, 27)]
    assert [part.tolist() for part in positions(5, 2, pgd, 4)] == [[0, 2, 4], [1, 3]]
    assert [len(part) for part in positions(1, 3, pgd, 4)] == [1, 0, 0]


def test_a_library_attack_in_parts_has_the_verdicts_of_the_whole(project, monkeypatch):
    pytest.importorskip("pyautoattack")
    monkeypatch.setattr(autoattack_library, "IMAGES_AT_ONCE", 4)
    images = open_images("tiny")
    texts = embed.read_texts(TEXTS, [class_entry.class_id for class_entry in images.classes])
    classifier = load_classifier(MODEL, texts, texts, images.pixels.shape[-1], False, CPU)
    targets = Targets(images.pixels, np.arange(len(images.labels)), images.labels)
    told = team_settings(len(images.labels))
    module, options = attack("autoattack_ce_dlr")
    whole = module.run(classifier, targets, options, told)
    rows = positions(len(images.labels), 2, module, told.batch_size)
    outcomes = []
    for part in rows:
        chosen, its = part_of(targets, told, part)
        outcomes.append(module.run(classifier, chosen, options, its))
    assert_same(whole, merge(targets, told, rows, outcomes), "autoattack_ce_dlr")


def test_parts_go_back_to_their_positions():
    targets, told = make_targets(7, 2), team_settings(7)
    told = told._replace(examples=np.array([1, 2, 5]))
    rows = positions(7, 2, pgd, 4)
    outcomes = []
    for part in rows:
        chosen, its = part_of(targets, told, part)
        kept = chosen.numbers[its.examples].astype(np.float32)
        outcomes.append(
            Outcome(
                fooled_at=chosen.numbers.astype(np.int32),
                prediction=chosen.labels.astype(np.int32),
                margin=chosen.numbers / np.float32(2),
                confidence=chosen.numbers / np.float32(16),
                last_prediction=np.where(its.follow, chosen.labels, -1).astype(np.int32),
                zero_gradient=np.zeros(len(part), np.float32),
                perturbations=np.broadcast_to(kept[:, None, None, None], (len(kept), 3, 6, 6)),
                note=f"a; b{len(part)}",
                judged=len(part),
                largest_difference=len(part) / 100,
            )
        )
    whole = merge(targets, told, rows, outcomes)
    assert whole.fooled_at.tolist() == targets.numbers.tolist()
    assert whole.prediction.tolist() == targets.labels.tolist()
    assert whole.margin.tolist() == (targets.numbers / 2).tolist()
    assert whole.confidence.tolist() == (targets.numbers / 16).tolist()
    expected = np.where(told.follow, targets.labels, -1)
    assert whole.last_prediction.tolist() == expected.tolist()
    assert whole.perturbations[:, 0, 0, 0].tolist() == targets.numbers[[1, 2, 5]].tolist()
    assert (whole.note, whole.judged, whole.largest_difference) == ("a; b4; b3", 7, 0.04)


def verdicts() -> tuple[dict, dict]:
    """Columns of predictions.parquet and values of metrics.json, without margins, their
    differences and confidences, whose last bits depend on what else is in a batch."""
    table = pq.read_table(VERDICTS / "predictions.parquet")
    inexact = [name for name in table.column_names if name.endswith(("_margin", "_confidence"))]
    table = table.drop_columns([*inexact, "zero_gradient"])
    metrics = json.loads((VERDICTS / "metrics.json").read_text())
    assert metrics["largest_margin_difference"] is None, "attacks are float32 too"
    return table.to_pydict(), metrics


def test_the_stages_on_two_devices(project, monkeypatch, capsys):
    monkeypatch.setenv("SAFT_DEVICE", "cpu")
    evaluate.main(*EVALUATED)
    check.main("tiny", "base")
    alone = verdicts(), CHECKED.read_bytes()
    started = []
    served = devices.workers
    monkeypatch.setattr(evaluate, "workers", lambda n: started.append(n) or served(n))
    monkeypatch.setenv("SAFT_DEVICES", "cpu, cpu")
    evaluate.main(*EVALUATED)
    check.main("tiny", "base")
    assert started == [["cpu", "cpu"]]
    assert (verdicts(), CHECKED.read_bytes()) == alone
    capsys.readouterr()


def test_workers_leave_nothing_behind_that_python_warns_of(project):
    done = subprocess.run(
        [sys.executable, "-m", "stages.evaluate", *EVALUATED],
        env=environment(SAFT_DEVICES="cpu,cpu"),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "100%" in done.stderr, "the first worker's bar"
    assert "leaked" not in done.stderr


def test_no_process_is_started_for_one_device(monkeypatch):
    monkeypatch.setattr(devices, "get_context", lambda method: None)
    monkeypatch.setenv("SAFT_DEVICE", "x")
    monkeypatch.setenv("SAFT_DEVICES", "cpu")
    with workers(device_names()) as team:
        assert team == []
        assert distribute(team, pgd, Subject(lambda device: None, "tiny")) is pgd.run
    assert os.environ["SAFT_DEVICE"] == "cpu", "SAFT_DEVICES wins"
    monkeypatch.delenv("SAFT_DEVICES")
    assert device_names() == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "'' is not a device; e.g. cuda:0,cuda:1"),
        ("cpu,gpu", "'gpu' is not a device"),
        ("cuda,cpu", "'cuda' is not a device"),
        ("cuda:0,cuda:2", "no cuda:2 here, torch sees 2 CUDA devices"),
        ("cuda:0,cuda:0", "cuda:0 is named twice"),
    ],
)
def test_devices_that_are_none_are_named(monkeypatch, value, message):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("SAFT_DEVICES", value)
    with pytest.raises(UserError, match=f"SAFT_DEVICES={value}: {message}"):
        device_names()


def broken(device: torch.device) -> None:
    raise UserError("data/models/x: broken")


def absent(device: torch.device) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_befalls_a_worker_is_one_line():
    targets, (module, options) = make_targets(4, 2), attack("pgd")
    with workers(["cpu"]) as team:

        def attacked(load) -> None:
            run = distribute(team, module, Subject(load, "tiny"))
            run(None, targets, options, settings(4))

        with pytest.raises(UserError, match="data/models/x: broken"):
            attacked(broken)
        dead = r"the process on cpu died \(exit code -9; out of memory\?\); lower"
        with pytest.raises(UserError, match=dead):
            attacked(absent)
        process = team[0].process
    assert not process.is_alive()


@pytest.mark.parametrize("seconds", [0.0, 0.3, 2.0])
def test_an_interrupt_ends_the_workers(project, seconds):
    """Ctrl-C goes to the whole group of processes, as from a terminal; `seconds` after the start
    of the workers, whose imports take longer than that."""
    write_params(project, **{"evaluate.options.pgd.steps": 10**6})
    running = subprocess.Popen(
        [sys.executable, "-m", "stages.evaluate", *EVALUATED],
        env=environment(SAFT_DEVICES="cpu,cpu"),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hear_interrupts,
    )
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    try:
        wait_for(lambda: len(children.read_text().split()) >= 3)  # and spawn's resource tracker
        pids = [int(pid) for pid in children.read_text().split()]
        time.sleep(seconds)
        os.killpg(running.pid, signal.SIGINT)
        _, error = running.communicate(timeout=60)
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
    assert running.returncode == 130
    messages = [line for line in lines(error) if "%|" not in line]  # but for a bar
    assert messages == ["[evaluate] error: interrupted; nothing is half-written"]
    wait_for(lambda: not any(alive(pid) for pid in pids), 10)
    assert not (project / "data/evaluation").exists()


def test_shards_are_merged_into_what_one_machine_finds(project, monkeypatch, capsys):
    monkeypatch.setenv("SAFT_DEVICE", "cpu")
    evaluate.main(*EVALUATED)
    alone = verdicts()
    before = (VERDICTS / "metrics.json").stat().st_mtime_ns
    evaluate.main(*EVALUATED, shard="1/2")
    assert (VERDICTS / "metrics.json").stat().st_mtime_ns == before, "a part writes no output"
    assert failure(merge=2).endswith(
        "base/2-of-2.safetensors: not found; run the evaluation with --shard 2/2 again"
    )
    evaluate.main(*EVALUATED, shard="2/2")
    evaluate.main(*EVALUATED, merge=2)
    assert (VERDICTS / "metrics.json").stat().st_mtime_ns != before
    assert verdicts() == alone
    assert not parts.folder_of(VERDICTS).exists()
    capsys.readouterr()


def failure(**options: Any) -> str:
    """The message of the stage, which must fail."""
    with pytest.raises(UserError) as caught:
        evaluate.main.__wrapped__(*EVALUATED, **options)
    return str(caught.value)


def test_parts_of_something_else_are_refused(project, monkeypatch):
    monkeypatch.setenv("SAFT_DEVICE", "cpu")
    for shard in ("1/2", "2/2"):
        evaluate.main(*EVALUATED, shard=shard)
    write_params(project, **{"evaluate.options.pgd.steps": 6})
    assert "base/1-of-2.safetensors: made with other params; " in failure(merge=2)
    file = parts.file_of(parts.folder_of(VERDICTS), parts.Shard(1, 2))
    file.write_bytes(file.read_bytes()[:100])
    assert "base/1-of-2.safetensors: damaged; run" in failure(merge=2)
    assert not VERDICTS.exists()


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0"])
def test_a_shard_that_is_none_is_named(text):
    with pytest.raises(UserError, match=f"--shard {text}: write i/n"):
        parts.read_cut(text, None)


def test_a_shard_is_not_merged():
    with pytest.raises(UserError, match="one of them"):
        parts.read_cut("1/2", 2)
