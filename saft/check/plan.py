"""params.yaml read once, and what is known without computing of sets, models and stages."""

import itertools
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch

from pipeline.clip.device import pick_device
from pipeline.clip.folders import BASE, FINETUNED
from pipeline.common.errors import UserError
from pipeline.common.options import load_plugin
from pipeline.common.params import PARAMS_FILE, Section, read_params, validate
from pipeline.common.plain_values import shown
from pipeline.descriptions.params import DescribeParams
from pipeline.embeddings.templates import EmbedParams
from pipeline.evaluation.params import EvaluateParams
from pipeline.filtering.filter import FilterParams
from pipeline.models.params import ModelParams
from pipeline.models.pretraining import PretrainParams
from pipeline.prepare.pack import PrepareParams
from pipeline.results.files import Evaluation
from pipeline.soundness.measure import ChecksParams
from pipeline.training.objective import MethodParams
from pipeline.training.recipe import FinetuneParams, Recipe, resolve
from saft.check import dvc
from saft.check.model_state import ModelState, Training, inspect_model
from saft.check.probe import EncoderPasses, measure_passes
from saft.check.sets import SetState, inspect_set
from saft.references import NAME_SETS, needs_base, used_sets
from saft.schema import sections

S = TypeVar("S", bound=Section)


class Plan:
    """Everything is read at first use; UserError where params.yaml does not allow it."""

    def __init__(self, file: Path = PARAMS_FILE) -> None:
        self.file = file
        try:
            self.values = read_params(file)
        except OSError as error:  # it is a folder, or may not be read
            raise UserError(str(error)) from None

    def _section(self, name: str, schema: type[Section]) -> Any:
        return validate(self.values.get(name), schema, f"{self.file}: {name}")

    def _entries(self, name: str, schema: type[S]) -> dict[str, S]:
        """A section whose keys the user names."""
        values = self.values.get(name)
        if not isinstance(values, dict):
            raise UserError(
                f"{self.file}: {name}: expected a section with keys, found {shown(values)}"
            )
        where = f"{self.file}: {name}"
        return {key: validate(entry, schema, f"{where}.{key}") for key, entry in values.items()}

    @cached_property
    def sound(self) -> set[str]:
        """The sections that can be read."""
        return sections(self.values, self.file)[0]

    @cached_property
    def prepare(self) -> PrepareParams:
        """Section `prepare`."""
        return self._section("prepare", PrepareParams)

    @cached_property
    def trainings(self) -> dict[str, Training]:
        """Section `pretrain`, with the size of the images that each entry learns from."""
        trainings = self._entries("pretrain", PretrainParams)
        states = {name: self.sets.get(params.dataset) for name, params in trainings.items()}
        return {
            name: Training(name, params, state.size if (state := states[name]) else None)
            for name, params in trainings.items()
        }

    @cached_property
    def model_params(self) -> dict[str, ModelParams]:
        """Section `models`."""
        return self._entries("models", ModelParams)

    @cached_property
    def describe(self) -> DescribeParams:
        """Section `describe`."""
        return self._section("describe", DescribeParams)

    @cached_property
    def filter(self) -> FilterParams:
        """Section `filter`."""
        return self._section("filter", FilterParams)

    @cached_property
    def embed(self) -> EmbedParams:
        """Section `embed`."""
        return self._section("embed", EmbedParams)

    @cached_property
    def finetune(self) -> FinetuneParams:
        """Section `finetune`."""
        return self._section("finetune", FinetuneParams)

    @cached_property
    def evaluate(self) -> EvaluateParams:
        """Section `evaluate`."""
        return self._section("evaluate", EvaluateParams)

    @cached_property
    def checks(self) -> ChecksParams:
        """Section `evaluate.checks`."""
        return validate(self.evaluate.checks, ChecksParams, f"{self.file}: evaluate.checks")

    @cached_property
    def method(self) -> tuple[Any, MethodParams]:
        """The chosen method's module and options."""
        params = self.finetune
        module, options = load_plugin(
            "pipeline.methods", "finetune", "method", params.method, params.options
        )
        assert isinstance(options, MethodParams)
        return module, options

    @cached_property
    def recipe(self) -> Recipe:
        """The training with everything filled in."""
        module, options = self.method
        return resolve(self.finetune, module.PUBLISHED, options)

    @cached_property
    def passes(self) -> EncoderPasses:
        """How often the method encodes an image."""
        return measure_passes(*self.method, self.finetune.augmentation)

    @cached_property
    def device(self) -> torch.device:
        """Where the stages would compute."""
        return pick_device()

    @cached_property
    def runs(self) -> dvc.Runs:
        """What DVC would run."""
        return dvc.stages_to_run()

    @cached_property
    def sets(self) -> dict[str, SetState]:
        """The image sets that `dvc repro` prepares; all where that cannot be read."""
        decides = NAME_SETS | {"models"} <= self.sound
        used = used_sets(self.values) if decides else set(self.prepare.sets)
        return {
            name: inspect_set(name, spec, f"{self.file}: prepare.sets.{name}", self.runs)
            for name, spec in self.prepare.sets.items()
            if name in used
        }

    @property
    def trains(self) -> bool:
        """Whether the fine-tuned model is evaluated; true where that cannot be read."""
        return "evaluate" not in self.sound or FINETUNED in self.evaluate.models

    @property
    def describes(self) -> bool:
        """Whether descriptions, and the model that filters them, are needed; true where that
        cannot be read."""
        return "evaluate" not in self.sound or needs_base(self.values["evaluate"])

    @cached_property
    def models(self) -> dict[str, ModelState]:
        """The models that `dvc repro` needs, by name, as their stages would give them; without
        those that no section defines. All of section models where evaluate cannot be read."""
        evaluated = self.evaluate.models if "evaluate" in self.sound else list(self.model_params)
        names = dict.fromkeys([BASE, *evaluated] if self.describes else evaluated)
        states = {
            name: inspect_model(
                name, self.model_params[name], self.trainings, self.runs.includes(f"model@{name}")
            )
            for name in names
            if name in self.model_params
        }
        if FINETUNED in names and BASE in states:
            made = "what finetune makes of base"
            states[FINETUNED] = replace(states[BASE], remark=made, problem="", downloads=())
        return states

    @cached_property
    def evaluations(self) -> dict[str, Evaluation]:
        """What the stages evaluate@<item> measure, by item, of which every part may hold dashes."""
        params = self.evaluate
        keys = itertools.product(
            params.datasets, params.attacks, params.texts, params.epsilons_255, params.models
        )
        return {
            f"{dataset}-{attack}-{texts}-{epsilon}-{model}": (
                dataset, texts, attack, epsilon, model,
            )
            for dataset, attack, texts, epsilon, model in keys
        }  # fmt: skip

    def state(self, model: str) -> ModelState:
        """One of `models`; UserError where there is none."""
        if model not in self.models:
            raise UserError(f"{self.file}: section models has no '{model}'")
        return self.models[model]
