"""A training step and a PGD step with the costs of SAFT's released code, reimplemented.

Source: tmlr-group/SAFT at db30aec, attacks/pgd_attack.py, training.py and helper.py, for what
is computed and how often:
- all K * C prompts go through the text encoder in every PGD step and again in the outer
  step, there with a graph: the text weights require gradients, which pile up unused;
- the attack switches `requires_grad` off on every weight, the outer step on again;
- the outer step encodes the adversarial images twice, for the logits and for the patches,
  and its backward pass reaches into the pixels of the perturbation;
- the frozen model keeps `requires_grad`: its forward has a graph and a backward pass;
- attention maps are computed per caption and upsampled to the size of the image;
- the layers of the network are the plain ones.
Left out: `cudnn.benchmark`, whose search takes minutes before the first step on an H100.

`Released` leaves the float16 autocast of the outer step out, so that it computes the same
function as the pipeline's float32; `ReleasedAmp` has it, as the released code runs.
Shapes: B images, C classes, K captions, T patches, D joint width, S pixels.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.setting import Scene, Setting, shift_weights
from pipeline.clip import model as clip
from pipeline.clip.model import Clip, ImageEncoder
from pipeline.training.training_attack import start_seed

REFINEMENT, CONSTRAINT = 0.08, 0.05


class Released:
    """Tuned model, frozen model and one batch on the device of the setting."""

    def __init__(self, scene: Scene, setting: Setting) -> None:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.benchmark = False
        device = torch.device(setting.device)
        self.epsilon, self.step_size = setting.epsilon_255 / 255, setting.step_255 / 255
        self.setting = setting
        self.model = scene.base.model.to(device)
        self.encoder = plain_encoder(scene.base).to(device)
        self.frozen = copy.deepcopy(self.encoder)
        shift_weights(self.encoder.visual, setting.seed)
        self.images = torch.from_numpy(scene.pixels).to(device).float() / 255
        self.labels = torch.from_numpy(scene.labels).to(device)
        # caption-major: slot k of every class, for each k
        texts = [row[k] for k in range(setting.captions) for row in scene.prompts]
        self.tokens = scene.base.tokenize(texts).to(device)
        self.optimiser = torch.optim.SGD(self.encoder.visual.parameters(), lr=1e-4, momentum=0.9)

    @property
    def visual(self) -> nn.Module:
        """The trained part."""
        return self.encoder.visual

    def perturb(self, steps: int) -> Tensor:
        """(B, 3, S, S) perturbation after `steps` PGD steps; a leaf that requires gradients."""
        images, epsilon = self.images, self.epsilon
        perturbation = torch.empty_like(images).uniform_(
            -epsilon, epsilon, generator=self._generator()
        )
        perturbation = (images + perturbation).clamp(0, 1) - images
        perturbation.requires_grad_()
        self.model.requires_grad_(False)
        for _ in range(steps):
            logits = self._logits(images + perturbation, self._text_features())
            self._cross_entropy(logits).backward()
            assert perturbation.grad is not None
            moved = perturbation.detach() + self.step_size * perturbation.grad.sign()
            moved = (images + moved.clamp(-epsilon, epsilon)).clamp(0, 1) - images
            perturbation.data.copy_(moved)
            perturbation.grad.zero_()
        return perturbation

    def train_step(self) -> dict[str, Tensor]:
        """Attack the batch, then descend once; the scalars of the loss."""
        self.optimiser.zero_grad()
        adversarial = self.images + self.perturb(self.setting.attack_steps)
        self.model.requires_grad_(True)
        losses = self._losses(adversarial)
        self._descend(losses["loss"])
        return {name: value.detach() for name, value in losses.items()}

    def _losses(self, adversarial: Tensor) -> dict[str, Tensor]:
        """The loss and its terms for (B, 3, S, S) adversarial pixels."""
        text = self._text_features()
        cross_entropy = self._cross_entropy(self._logits(adversarial, text))
        label_texts = text[:, self.labels]
        attacked = self._map(self.encoder, adversarial, label_texts)
        base = self._map(self.frozen, self.images, label_texts)
        clean = self._map(self.encoder, self.images, label_texts)
        refinement = (attacked - base).norm(dim=1).mean()
        constraint = (clean - base).norm(dim=1).mean()
        return {
            "loss": cross_entropy + REFINEMENT * refinement + CONSTRAINT * constraint,
            "cross_entropy": cross_entropy,
            "attention_refinement": refinement,
            "attention_constraint": constraint,
        }

    def _descend(self, loss: Tensor) -> None:
        loss.backward()
        self.optimiser.step()

    def _generator(self) -> torch.Generator:
        """The random start of step 0 in `pipeline.training.training_attack`."""
        return torch.Generator(self.images.device).manual_seed(start_seed(self.setting.seed, 0))

    def _text_features(self) -> Tensor:
        """(K, C, D) unit-norm features of all prompts, encoded again."""
        features = F.normalize(self.model.encode_text(self.tokens), dim=-1)
        return features.view(self.setting.captions, self.setting.classes, -1)

    def _logits(self, images: Tensor, text: Tensor) -> Tensor:
        """(K, B, C) logits of (B, 3, S, S) pixels against (K, C, D) texts."""
        return self.model.logit_scale.exp() * self.encoder(images).pooled @ text.transpose(1, 2)

    def _cross_entropy(self, logits: Tensor) -> Tensor:
        """Mean over captions and images of (K, B, C) logits."""
        return F.cross_entropy(logits.flatten(0, 1), self.labels.repeat(len(logits)))

    def _map(self, encoder: ImageEncoder, images: Tensor, text: Tensor) -> Tensor:
        """(B, S * S) attention maps of (B, 3, S, S) pixels for (K, B, D) texts."""
        tokens = encoder.project(encoder(images))
        tokens = tokens / tokens.norm(dim=1, keepdim=True)
        similarity = (tokens[None, :, 1:] @ text[..., None]).squeeze(-1).mean(0)
        low, high = similarity.amin(1, keepdim=True), similarity.amax(1, keepdim=True)
        grid = ((similarity - low) / (high - low)).view(-1, 1, *encoder.grid)
        size = (encoder.image_size, encoder.image_size)
        return F.interpolate(grid, size=size, mode="bilinear", align_corners=False).flatten(1)


class ReleasedAmp(Released):
    """The release with its own precision: the outer step under float16 autocast with a gradient
    scaler (training.py), the attack in float32. A CPU, which has no float16 products, takes
    bfloat16 and no scaler: that is a dry run, not the release."""

    def __init__(self, scene: Scene, setting: Setting) -> None:
        super().__init__(scene, setting)
        self.dtype = amp_dtype(setting.device)
        half = self.dtype == torch.float16
        self.scaler = torch.amp.GradScaler(self.images.device.type, enabled=half)

    def _losses(self, adversarial: Tensor) -> dict[str, Tensor]:
        with torch.autocast(adversarial.device.type, self.dtype):
            return super()._losses(adversarial)

    def _descend(self, loss: Tensor) -> None:
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimiser)
        self.scaler.update()


def plain_encoder(base: Clip) -> ImageEncoder:
    """The image half of a model with open_clip's own layers, also within `base`: what the
    pipeline exchanges (`pipeline.clip.fused`) is not the release's."""
    visual = copy.deepcopy(base.model.visual)
    encoder = clip.image_encoder(base)
    visual.output_tokens = True
    base.model.visual = encoder.visual = visual
    return encoder


def amp_dtype(device: str) -> torch.dtype:
    """What `ReleasedAmp` runs its outer step in on `device`."""
    return torch.float16 if device.startswith("cuda") else torch.bfloat16
