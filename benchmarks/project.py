"""The same two steps by this project's own code path, nothing rewritten."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from benchmarks.released import CONSTRAINT, REFINEMENT
from benchmarks.setting import Scene, Setting, shift_weights
from pipeline.clip.cuda_graph import Replay
from pipeline.clip.device import enable_determinism
from pipeline.clip.precision import Precision, compile_blocks
from pipeline.clip.text_encoding import encode_texts
from pipeline.methods import saft
from pipeline.training.batches import make_batch, read_pixels
from pipeline.training.session import method_inputs
from pipeline.training.step import make_optimiser, train_step
from pipeline.training.training_attack import Ascents, make_ascents, perturb_batch
from pipeline.training.weights import trained

OPTIONS = saft.Params(
    learning_rate=None,
    attention_refinement=REFINEMENT,
    attention_constraint=CONSTRAINT,
    attention_norm="token",
)


class Project:
    """Image encoder, objective and one batch.

    precision, compile: as in section `finetune` of params.yaml.
    """

    def __init__(
        self,
        scene: Scene,
        setting: Setting,
        precision: Precision = "float32",
        compile: bool = False,
    ) -> None:
        enable_determinism()
        device = torch.device(setting.device)
        self.recipe = replace(setting.recipe(), precision=precision, compile=compile)
        texts = encode_texts(scene.base, [t for row in scene.prompts for t in row], device)
        texts = texts.view(setting.classes, setting.captions, -1).to(device)
        scene.base.model.cpu()  # the text tower stays there
        template = texts[:, 0]  # SAFT does not look at it
        inputs = method_inputs(scene.base, texts, template, scene, self.recipe, device)
        self.encoder, self.objective = inputs.encoder, saft.build(OPTIONS, inputs)
        shift_weights(self.encoder.visual, setting.seed)
        self.batch = make_batch(*read_pixels(scene.pixels, 0, self.recipe), scene.labels, device)
        self.begin()

    def begin(self) -> None:
        """What `pipeline.training.loop.finetune` sets up before its first step."""
        self.optimiser = make_optimiser(trained(self.encoder), self.recipe)
        self.ascents = make_ascents(self.encoder, self.recipe)
        if self.recipe.compile:
            compile_blocks(self.encoder.visual)

    def drop_graph(self) -> None:
        """Give the memory of the attack's CUDA graph back; another one is captured when due."""
        self.ascents = self.ascents._replace(replay=Replay(after=2))

    @property
    def visual(self) -> nn.Module:
        """The trained part."""
        return self.encoder.visual

    def perturb(self, steps: int, ascents: Ascents | None = None) -> Tensor:
        """(B, 3, S, S) perturbation after `steps` PGD steps from the start of step 0.

        ascents: how, if not as in a training step.
        """
        assert self.recipe.attack is not None
        recipe = replace(self.recipe, attack=replace(self.recipe.attack, steps=steps))
        return perturb_batch(
            self.encoder, self.objective, self.batch, 0, recipe, ascents or self.ascents
        )

    def train_step(self) -> dict[str, Tensor]:
        """`pipeline.training.step.train_step`, step 0."""
        return train_step(
            self.encoder, self.objective, self.optimiser, self.batch, 0, self.recipe, self.ascents
        ).scalars
