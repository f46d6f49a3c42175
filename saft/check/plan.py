"""params.yaml read once, and what is known without computing of sets, model and stages."""

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from pipeline.embeddings.tables import EmbedParams

from pipeline.clip.device import pick_device
from pipeline.common.errors import UserError
from pipeline.common.options import load_plugin
from pipeline.common.params import PARAMS_FILE, Section, read_params, validate
from pipeline.descriptions.params import DescribeParams
from pipeline.evaluation.evaluate import EvaluateParams
from pipeline.filtering.filter import FilterParams
from pipeline.models.params import BaseModelParams
from pipeline.prepare.pack import PrepareParams
from pipeline.soundness.measure import ChecksParams
from pipeline.training.objective import MethodParams
from pipeline.training.recipe import FinetuneParams, Recipe, resolve
from saft.check import dvc
from saft.check.model_state import ModelState, inspect_model
from saft.check.probe import EncoderPasses, measure_passes
from saft.check.sets import SetState, inspect_set
from saft.schema import sections


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

    @cached_property
    def sound(self) -> set[str]:
        """The sections that can be read."""
        return sections(self.values, self.file)[0]

    @cached_property
    def prepare(self) -> PrepareParams:
        """Section `prepare`."""
        return self._section("prepare", PrepareParams)

    @cached_property
    def base_model(self) -> BaseModelParams:
        """Section `base_model`."""
        return self._section("base_model", BaseModelParams)

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
        return measure_passes(*self.method)

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
        """Every image set of prepare.sets."""
        return {
            name: inspect_set(name, spec, f"{self.file}: prepare.sets.{name}", self.runs)
            for name, spec in self.prepare.sets.items()
        }

    @cached_property
    def model(self) -> ModelState:
        """The base model that its stage would give."""
        trained_on = self.sets.get(self.base_model.dataset)
        size = trained_on.size if trained_on else None
        return inspect_model(self.base_model, size, self.runs.includes("base_model"))
