"""The same two steps by this project's own code path, nothing rewritten."""

import torch
from torch import Tensor, nn

from benchmarks.released import CONSTRAINT, REFINEMENT
from benchmarks.setting import Scene, Setting, shift_weights
from pipeline import attack, clip
from pipeline.device import be_deterministic
from pipeline.finetune import read_batch, start_seed, train_step
from pipeline.methods import Setup, saft


class Project:
    """Image encoder, objective and one batch, prepared as `stages.finetune` does."""

    def __init__(self, scene: Scene, setting: Setting) -> None:
        be_deterministic()
        device = torch.device(setting.device)
        self.params = setting.finetune_params()
        texts = clip.encode_texts(scene.base, [t for row in scene.prompts for t in row], device)
        texts = texts.view(setting.classes, setting.captions, -1).to(device)
        scene.base.model.cpu()  # the text tower stays there
        self.encoder = clip.image_encoder(scene.base).to(device)
        setup = Setup(
            encoder=self.encoder,
            texts=texts,
            scale=clip.logit_scale(scene.base),
            pixels=scene.pixels,
            labels=scene.labels,
            batch_size=setting.batch_size,
        )
        weights = saft.Params(attention_refinement=REFINEMENT, attention_constraint=CONSTRAINT)
        self.objective = saft.build(weights, setup)
        shift_weights(self.encoder.visual, setting.seed)
        clip.train_only_image_encoder(scene.base, self.encoder)
        self.batch = read_batch(scene.pixels, scene.labels, 0, self.params, device)
        self.optimiser = torch.optim.SGD(
            self.encoder.visual.parameters(),
            lr=self.params.learning_rate,
            momentum=self.params.momentum,
        )

    @property
    def visual(self) -> nn.Module:
        """The trained part."""
        return self.encoder.visual

    def perturb(self, steps: int) -> Tensor:
        """(B, 3, S, S) perturbation after `steps` PGD steps from the start of step 0."""
        images, epsilon = self.batch.images, self.params.epsilon_255 / 255
        generator = torch.Generator(images.device).manual_seed(start_seed(self.params.seed, 0))
        return attack.perturb(
            lambda perturbed: self.objective.attack_loss(self.encoder, perturbed, self.batch),
            images,
            attack.uniform_start(images, epsilon, generator),
            epsilon=epsilon,
            step_size=self.params.step_255 / 255,
            steps=steps,
        )

    def train_step(self) -> dict[str, Tensor]:
        """`pipeline.finetune.train_step`, step 0."""
        return train_step(self.encoder, self.objective, self.optimiser, self.batch, 0, self.params)
