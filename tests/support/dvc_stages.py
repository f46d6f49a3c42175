"""The two pipeline files and the import graph of the code behind them."""

import ast
import re
from collections.abc import Mapping
from functools import reduce
from itertools import product
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.clip.folders import BASE, FINETUNED
from tests.support.project import ROOT

# what is asked for, and what that is made from
FILES = ROOT_FILE, STAGES_FILE = "dvc.yaml", "stages/dvc.yaml"
STAGES_OF: dict[str, dict[str, Any]] = {
    file: YAML(typ="safe", pure=True).load((ROOT / file).read_text())["stages"] for file in FILES
}
STAGES = {name: stage for stages in STAGES_OF.values() for name, stage in stages.items()}
# the packages whose plug-in a stage loads by the name in params.yaml
PLUGINS = {
    "prepare": ("datasets", "item.source"),
    "model": ("model_sources", "item.source"),
    "describe": ("backends", "describe.backend"),
    "finetune": ("methods", "finetune.method"),
    "evaluate": ("attacks", "item.attack"),
}


def body(name: str) -> dict:
    return STAGES[name].get("do", STAGES[name])


def instances(name: str, params: Mapping[str, Any]) -> set[str]:
    """The stages that `foreach` or `matrix` makes of an entry of a pipeline file."""

    def value(reference: str) -> Any:
        keys = re.fullmatch(r"\$\{(.+)\}", reference)[1].split(".")
        return reduce(lambda values, key: values[key], keys, params)

    stage = STAGES[name]
    if "foreach" in stage:
        return {f"{name}@{key}" for key in value(stage["foreach"])}
    if "matrix" in stage:
        choices = [value(reference) for reference in stage["matrix"].values()]
        return {f"{name}@{'-'.join(map(str, items))}" for items in product(*choices)}
    return {name}


def asked_for(params: Mapping[str, Any]) -> dict[str, set[str]]:
    """Pipeline file -> the stages of it that `dvc repro` runs: all of dvc.yaml, and of the other
    file what those need."""
    evaluate, tuned = params["evaluate"], FINETUNED in params["evaluate"]["models"]
    texts = {*evaluate["texts"], evaluate["attacker"]}
    described = tuned or "descriptions" in texts
    models = set(evaluate["models"]) - {FINETUNED} | ({BASE} if described else set())
    sources = {params["models"][name]["source"] for name in models}
    sets = {*evaluate["datasets"], *evaluate["checks"]["datasets"]}
    sets |= {params["describe"]["dataset"]} if described else set()
    trained = {params["finetune"]["dataset"], params["finetune"]["validation"]["dataset"]}
    sets |= trained - {"none"} if tuned else set()
    # model@<name> depends on the folder of all pretrainings
    pretrained = params["pretrain"] if "pretrain" in sources else {}
    sets |= {training["dataset"] for training in pretrained.values()}
    needed = {f"prepare@{name}" for name in sets} | {f"pretrain@{name}" for name in pretrained}
    needed |= {f"model@{name}" for name in models}
    needed |= instances("classes", params) | instances("checked_classes", params)
    needed |= {f"texts@{name}" for name in texts - {"descriptions", "same"}}
    needed |= {"describe", "filter"} if described else set()
    shown = params["describe"]["exemplars"]
    needed |= {f"exemplars@{shown}"} if described and shown != "none" else set()
    chosen, kinds = params["describe"]["confusions"], params["confusions"]
    if described and chosen != "none":
        needed.add(f"{'confusions' if chosen in kinds['text'] else 'image_confusions'}@{chosen}")
    needed |= {"embed_training", "finetune", "record"} if tuned else set()
    asked = {stage for name in STAGES_OF[ROOT_FILE] for stage in instances(name, params)}
    return {ROOT_FILE: asked, STAGES_FILE: needed}


def local_imports(file: Path) -> set[Path]:
    """Files of this repository that `file` imports, their packages included."""
    files: set[Path] = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            path = Path(*name.split("."))
            for candidate in (path.with_suffix(".py"), path / "__init__.py"):
                if (ROOT / candidate).is_file():
                    files.add(candidate)
    return files


def closure(entry: Path) -> set[Path]:
    reached, waiting = set(), [entry]
    while waiting:
        file = waiting.pop()
        if file in reached:
            continue
        reached.add(file)
        packages = {p / "__init__.py" for p in file.parents if (ROOT / p / "__init__.py").is_file()}
        waiting += [*local_imports(file), *(p for p in packages if p.parent != Path("."))]
    return reached


def plugins(package: str) -> list[Path]:
    files = sorted((ROOT / "pipeline" / package).glob("*.py"))
    return [f.relative_to(ROOT) for f in files if not f.name.startswith("_")]


def imported(name: str) -> set[Path]:
    """Files that a stage can import: those of its entry and, whichever plug-in is chosen, what
    that imports. Empty files are no dependency."""
    files = closure(Path(f"stages/{name}.py"))
    if name in PLUGINS:
        chosen_from = set(plugins(PLUGINS[name][0]))
        files |= {file for plugin in chosen_from for file in closure(plugin)} - chosen_from
    return {file for file in files if (ROOT / file).stat().st_size}


def code(name: str) -> list[Path]:
    """The dependencies of a stage that are code, the chosen plug-in apart."""
    deps = [Path(dep) for dep in body(name)["deps"]]
    return [dep for dep in deps if dep.parts[0] in ("pipeline", "stages") and "$" not in dep.name]


def under(file: Path, dep: Path) -> bool:
    return file == dep or dep in file.parents
