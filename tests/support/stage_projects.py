"""A tiny project whose stages are run one by one, without dvc, and what each of them wrote."""

import hashlib
import re
import shutil
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from ruamel.yaml import YAML

from tests.support import stage_faults
from tests.support.kills import run_stage
from tests.support.project import make, run

# every stage that writes, in an order in which they can run, with its outputs as DVC knows them
STAGES = {
    "stages.prepare digits": ["data/images/digits", "data/classes/digits.parquet"],
    "stages.classes digits": ["data/evaluated_classes/digits.parquet"],
    "stages.checked_classes digits": ["data/checked_classes/digits.parquet"],
    "stages.texts template": ["data/texts/template"],
    "stages.prepare pairs": ["data/images/pairs", "data/classes/pairs.parquet"],
    "stages.prepare shapes-train": [
        "data/images/shapes-train",
        "data/classes/shapes-train.parquet",
    ],
    "stages.prepare shapes-train-validation": [
        "data/images/shapes-train-validation",
        "data/classes/shapes-train-validation.parquet",
    ],
    "stages.pretrain small": ["data/inputs/models/pretrain/small"],
    "stages.model base": ["data/models/base"],
    "stages.about base": ["data/about/base"],
    "stages.exemplars near": ["data/exemplars/near.parquet"],
    "stages.confusions texts": ["data/confusions/texts.parquet"],
    "stages.image_confusions pictures": ["data/confusions/pictures.parquet"],
    "stages.describe": ["data/descriptions"],
    "stages.filter": ["data/filtered", "data/texts/descriptions"],
    "stages.embed_training": ["data/training_embeddings"],
    "stages.finetune": ["data/models/finetuned/clip"],
    "stages.record": ["data/models/finetuned/record"],
    "stages.embed base template": ["data/embeddings/base/template"],
    "stages.evaluate digits pgd template 4 base": ["data/evaluation/digits/template/pgd/4/base"],
    "stages.check digits base": ["data/checks/digits/base.json"],
    "stages.report": [
        "reports/metrics.json",
        "reports/headline.json",
        "reports/plots",
        "reports/report.html",
    ],
}
# no stages of their own
ALIKE = {f"stages.prepare {name}" for name in ("pairs", "shapes-train", "shapes-train-validation")}


class StageProject:
    """A project in `folder`; reference: stage -> what it writes undisturbed, path -> sha256;
    moments: stage -> those of `stage_faults.at_renames` in that run."""

    def __init__(self, folder: Path) -> None:
        self.folder = make(folder)
        choose(folder / "params.yaml")
        run(folder, "git", "commit", "-qam", "params")
        self.reference: dict[str, dict[str, str]] = {}
        self.moments: dict[str, list[str]] = {}

    def build_until(self, stage: str) -> None:
        """Run the stages up to this one, undisturbed, that have not been run."""
        for command in list(STAGES)[: list(STAGES).index(stage) + 1]:
            if command not in self.reference:
                listed = self.folder.parent / "moments.txt"
                ended = run_stage(
                    self.folder, command, partial(stage_faults.record_renames, listed)
                )
                assert ended.status == 0, ended.output
                self.reference[command] = self.written(command)
                self.moments[command] = listed.read_text().splitlines()

    def written(self, stage: str) -> dict[str, str]:
        """What there is of the stage's outputs."""
        return hashes(self.folder, STAGES[stage])

    def remove(self, stage: str) -> None:
        """Remove the outputs, as DVC does before it runs a stage."""
        for name in STAGES[stage]:
            shutil.rmtree(self.folder / name, ignore_errors=True)
            (self.folder / name).unlink(missing_ok=True)

    def check_whole(self, stage: str) -> None:
        """Every output is as undisturbed or not there, and nothing else has appeared."""
        for name in STAGES[stage]:
            there = hashes(self.folder, [name])
            expected = {
                path: digest
                for path, digest in self.reference[stage].items()
                if Path(path).is_relative_to(name)
            }
            assert there in ({}, expected), f"{stage}: {name} is half-written"
        self.check_clean()

    def check_clean(self) -> None:
        """Nothing lies in data/ and reports/ but outputs and what git knows."""
        expected = {path for written in self.reference.values() for path in written}
        listed = hashes(self.folder, ["data", "reports"]).keys() - expected
        known = run(self.folder, "git", "ls-files", "data", "reports").splitlines()
        assert listed - set(known) == set()
        empty = [
            p for p in (self.folder / "data").rglob("*") if p.is_dir() and not any(p.iterdir())
        ]
        assert [p for p in empty if p.name.startswith(".")] == []

    def git_status(self) -> str:
        """What git sees besides the JSON of reports/, which is in git only after a run."""
        status = run(self.folder, "git", "status", "--porcelain").splitlines()
        return "\n".join(line for line in status if not re.search("reports/[a-z]+.json", line))

    def partials(self) -> list[Path]:
        """What is left of outputs that were not finished."""
        return sorted((self.folder / ".scratch/partial").glob("*"))


def hashes(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Path below `folder` -> sha256, of files and of all files in folders."""
    paths = [folder / name for name in names]
    files = [p for path in paths for p in (path.rglob("*") if path.is_dir() else [path])]
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(files)
        if file.is_file()
    }


def choose(file: Path) -> None:
    """One image set and one model are evaluated; there are exemplars and confusable classes."""
    yaml = YAML()
    values = yaml.load(file.read_text())
    values["evaluate"] |= {"datasets": ["digits"], "models": ["base"], "attacks": ["pgd"]}
    values["evaluate"]["checks"]["datasets"] = ["digits"]
    values["finetune"]["epochs"] = 1
    values["exemplars"] = {"near": {"images_per_class": 2, "candidates_per_class": None}}
    confusable = {"classes_per_class": 2, "template": "a photo of a {}"}
    values["confusions"]["text"] = {"texts": confusable}
    values["confusions"]["images"] = {"pictures": confusable | {"images_per_class": None}}
    with file.open("w") as stream:
        yaml.dump(values, stream)
