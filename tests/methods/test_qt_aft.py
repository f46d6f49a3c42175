"""QT-AFT's captions: those of the whole batch, also where an attack sees a part of it."""

import pytest
import torch
from torch.nn import functional as F

from pipeline.clip import model as clip
from pipeline.common.errors import UserError
from pipeline.training.objective import Batch
from tests.support.training_runs import SIZE, inputs_of, objective_of

NUMBERS = torch.tensor([1, 3, 4, 8])


@pytest.fixture
def inputs(clip_folder):
    return inputs_of(clip.image_encoder(clip.load(clip_folder)).eval())


def batch_of(images: torch.Tensor) -> Batch:
    return Batch(images, NUMBERS % 3, NUMBERS)


def test_a_part_of_a_batch_is_attacked_among_all_captions_of_the_batch(inputs):
    objective, images = objective_of("qt_aft", inputs), torch.rand(4, 3, SIZE, SIZE)
    encoder, whole = inputs.encoder, batch_of(images)
    parts = [
        Batch(images[rows], whole.labels[rows], NUMBERS[rows], NUMBERS)
        for rows in (slice(0, 1), slice(1, 4))
    ]
    of_parts = [objective.attack_loss(encoder, part.images, part).item() for part in parts]
    of_whole = objective.attack_loss(encoder, images, whole).item()
    assert sum(of_parts) == pytest.approx(of_whole, rel=1e-5)
    alone = parts[0]._replace(whole=None)
    with_others = objective.attack_loss(encoder, alone.images, parts[0]).item()
    assert objective.attack_loss(encoder, alone.images, alone).item() < with_others - 1


def test_an_equal_caption_of_another_image_is_a_negative(inputs):
    """As in the release: two equal captions leave log 2 at best."""
    captions = inputs.captions.clone()
    captions[3] = captions[1]
    objective = objective_of("qt_aft", inputs._replace(captions=captions), temperature=0.01)
    features = inputs.encoder(torch.rand(4, 3, SIZE, SIZE))
    told = features._replace(embedding=captions[NUMBERS])
    losses = objective.losses(lambda _: told, None, batch_of(None))
    expected = 2 * torch.log(torch.tensor(2.0)) / 4
    assert losses["caption_cross_entropy"].item() == pytest.approx(expected.item(), rel=1e-3)
    assert losses["caption_accuracy"].item() in (0.75, 1.0)  # equal logits: either of the two


def test_the_loss_is_that_of_fare_where_captions_weigh_nothing(inputs):
    images = torch.rand(4, 3, SIZE, SIZE)
    losses = objective_of("qt_aft", inputs, caption=0.0).losses(
        inputs.encoder, images, batch_of(images)
    )
    fare = objective_of("fare", inputs).losses(inputs.encoder, images, batch_of(images))
    assert torch.equal(losses["loss"], fare["loss"])
    assert not torch.equal(losses["caption_cross_entropy"], torch.tensor(0.0))


def test_a_caption_draws_its_image(inputs):
    """Down the caption term an image's feature turns towards its own caption."""
    raw = F.normalize(torch.randn(4, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    raw.requires_grad_()
    features = inputs.encoder(torch.rand(4, 3, SIZE, SIZE))._replace(embedding=raw)
    objective = objective_of("qt_aft", inputs)
    losses = objective.losses(lambda _: features, None, batch_of(None))
    losses["caption_cross_entropy"].backward()
    captions = inputs.captions[NUMBERS]
    moved = F.normalize(raw.detach() - 0.01 * raw.grad, dim=1)
    assert ((moved * captions).sum(1) > (raw.detach() * captions).sum(1)).all()


def test_without_captions_the_parameter_is_named(inputs):
    with pytest.raises(UserError, match=r"params.yaml: finetune.captions has none, and the method"):
        objective_of("qt_aft", inputs._replace(captions=None))
