"""`saft export DEST`: the fine-tuned model as a folder for open_clip or transformers and the
Hugging Face hub, its image encoder as one file, or a classifier for ONNX Runtime."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline.common.errors import UserError
from saft.errors import one_line_errors
from saft.inference.options import ImageSetName, LabelNames, Request, TemplateTexts, TextSetName
from saft.output_folder import check_free, check_parent

Layout = Literal["open_clip", "transformers", "visual", "onnx"]
NOTHING = Request()


@one_line_errors("saft export")
def main(
    dest: Annotated[
        Path,
        typer.Argument(
            help="folder to make; its name is the model's name on the card. With --format visual "
            "also a file that ends in .pt"
        ),
    ],
    layout: Annotated[
        Layout,
        typer.Option(
            "--format",
            help="open_clip: config and weights for open_clip. transformers: CLIPModel and "
            "CLIPProcessor. visual: the image encoder's state dict alone, visual.pt, as harnesses "
            "for LLaVA and the like take it. onnx: image encoder and zero-shot head, model.onnx",
        ),
    ] = "open_clip",
    labels: LabelNames = None, dataset: ImageSetName = None,
    template: TemplateTexts = None, texts: TextSetName = None,
) -> None:  # fmt: skip
    """Write the fine-tuned model, with a model card, for open_clip or transformers and the hub.

    The files are read again: features of fixed images and texts have to be the model's. Refuses
    where reports/metrics.json, whose results the card tells, is not of this model; a visual file
    and an ONNX folder have no card and need no results. Labels and texts are of --format onnx.
    """
    request = Request(labels, dataset, template, texts)
    if layout != "onnx" and request != NOTHING:
        raise UserError("--labels, --set, --template and --texts belong to --format onnx")
    try:
        lines = export(dest, layout, request)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{error.filename or dest}: {reason}") from None
    print("\n".join(lines))


def export(dest: Path, layout: Layout, request: Request = NOTHING) -> list[str]:
    """Write DEST as a whole or not at all; what to say of it.

    Args:
        request: the classes and texts of --format onnx.

    Raises:
        UserError: DEST is there and not empty, an input is missing, model and results do not
            belong together, the format cannot hold the model, or what was written is not it.
    """
    check_dest(dest, layout)
    if layout == "visual":
        return export_visual(dest)
    if layout == "onnx":
        return export_onnx(dest, request)
    from saft.export import card as model_card  # with torch: only here, so that --help is quick
    from saft.export.inputs import read_inputs
    from saft.export.lineage import read_lock

    name = dest.resolve().name
    card = model_card.render(read_inputs(read_lock()), name, layout)
    proof = export_folder(dest, layout, card)
    call = {
        "open_clip": f'open_clip.create_model_and_transforms("local-dir:{dest}")',
        "transformers": f'transformers.CLIPModel.from_pretrained("{dest}")',
    }[layout]
    return [
        f"{dest}: {call}",
        proof,
        f"to share it: hf upload <user>/{shlex.quote(name)} {shlex.quote(str(dest))}",
    ]


def check_dest(dest: Path, layout: Layout) -> None:
    """Raise UserError unless DEST can be made as what the format writes."""
    if dest.suffix != ".pt":
        return check_free(dest, "name another")
    if layout != "visual":
        raise UserError(f"{dest}: --format {layout} writes a folder; name one without .pt")
    if dest.exists():
        raise UserError(f"{dest}: exists; name another")
    return check_parent(dest, "name another")


def export_folder(dest: Path, layout: Layout, card: str) -> str:
    """Write the model and its card; the line of the proof that it is the model."""
    from pipeline.clip.folders import MODEL
    from pipeline.clip.model import load
    from pipeline.common.atomic import replacing_directory
    from saft.export import open_clip_folder, probe, transformers_folder, transformers_reload

    clip = load(MODEL)
    images_and_texts = probe.make(clip.model.visual.image_size[0])
    with replacing_directory(dest.resolve()) as folder:
        if layout == "transformers":
            transformers_folder.write(clip, folder)
            reloaded = transformers_reload.reload(folder, clip, images_and_texts)
        else:
            open_clip_folder.write(folder)
            reloaded = open_clip_folder.reload(folder, images_and_texts)
        proof = probe.check_equal(reloaded, probe.features(clip, images_and_texts))
        (folder / "README.md").write_text(card, encoding="utf-8")
    return proof


def export_visual(dest: Path) -> list[str]:
    """Write the image encoder's weights; what to say of them."""
    from pipeline.clip.folders import MODEL
    from pipeline.clip.model import load
    from saft.export import probe, visual_file

    _check_model()
    clip = load(MODEL)
    images = probe.make(clip.model.visual.image_size[0])
    with _replacing(dest) as target:
        visual_file.write(clip, target)
        reloaded = visual_file.reload(target, clip, images)
        reference = probe.image_features(clip.model.visual, clip.config, images)
        proof = probe.check_equal(reloaded, {"image": reference})
    file = dest if dest.suffix == ".pt" else dest / visual_file.FILE
    load_call = f'model.visual.load_state_dict(torch.load("{file}", weights_only=True))'
    return [f"{file}: {load_call}", proof, visual_file.not_in_the_file(clip)]


def export_onnx(dest: Path, request: Request) -> list[str]:
    """Write image encoder and zero-shot head; what to say of them."""
    from saft.export import onnx_folder, onnx_graph

    onnx_graph.check_installed()
    from pipeline.clip.folders import MODEL
    from pipeline.clip.model import load
    from pipeline.common.atomic import replacing_directory
    from saft.inference.classifying import encoded
    from saft.inference.request import chosen

    _check_model()
    known, clip = chosen(request), load(MODEL)
    texts = encoded(clip, known)
    with replacing_directory(dest.resolve()) as folder:
        onnx_folder.write(clip, texts, known, folder)
        proof = onnx_folder.check(folder, clip, texts)
    file = dest / onnx_folder.MODEL_FILE
    return [
        f'{file}: onnxruntime.InferenceSession("{file}"), {len(known.classes)} classes',
        proof,
        f"{dest / onnx_folder.ABOUT_FILE}: preprocessing, and the classes in their order",
    ]


def _check_model() -> None:
    """Raise UserError unless the files of the fine-tuned model are there."""
    from pipeline.clip.folders import MODEL
    from pipeline.clip.model import CONFIG_FILE, WEIGHTS_FILE
    from saft.export.lineage import FINETUNE

    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (MODEL / name).is_file():
            raise UserError(f"{MODEL / name}: not found; `dvc repro {FINETUNE}` makes it")


@contextmanager
def _replacing(dest: Path) -> Iterator[Path]:
    """The path to write the weights to, DEST itself or a file within it."""
    from pipeline.common.atomic import replacing_directory, replacing_file
    from saft.export.visual_file import FILE

    if dest.suffix == ".pt":
        with replacing_file(dest.resolve()) as path:
            yield path
    else:
        with replacing_directory(dest.resolve()) as folder:
            yield folder / FILE
