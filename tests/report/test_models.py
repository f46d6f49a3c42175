"""The report over one model, and over more than fit as columns."""

import html
import json
import re
import shutil
from pathlib import Path

import pytest

from pipeline.common.errors import UserError
from pipeline.report import page as report
from pipeline.report.about import millions, models_view, plain_text, read_about, text_towers
from pipeline.report.drawing import model_style
from pipeline.report.examples import shown_models
from pipeline.report.inputs import read_inputs
from pipeline.results.accuracy import accuracies
from pipeline.results.files import METRICS
from stages import report as stage
from tests.support.report_inputs import (
    CLASSES,
    PARAMS,
    write_about,
    write_checks,
    write_set,
)

SIX = {"base": 0.02, "fare2": 0.3, "finetuned": 0.6, "tecoa4": 0.75, "own": 0.4, "copy": 0.02}
TRAINING = ("<h2>Training</h2>", "What the filter kept", "provenance.json", "fine-tuned on")


@pytest.fixture
def six(tree: Path) -> Path:
    """Six models at two radii, the second of them the headline."""
    for seed, (name, count) in enumerate({"shapes": 150, "digits": 120}.items()):
        write_set(tree, name, count, SIX, seed, (4, 2))
    write_checks(tree, "shapes", list(SIX))
    for model in set(SIX) - {"base", "finetuned"}:
        origin = f"[hub](https://x.invalid/{model}) `{model}`"
        write_about(tree, model, defended="true", origin=origin, notes=["reshaped"])
    write_about(tree, "own", text_tower="own", citation="Doe et al. & others", licence="mit")
    configure(models=list(SIX), epsilons_255=[4, 2])
    return tree


def configure(**values: list[object]) -> None:
    """Set lists of section `evaluate`."""
    text = Path("params.yaml").read_text(encoding="utf-8")
    for key, value in values.items():
        text, count = re.subn(rf"(?m)^  {key}: .*$", f"  {key}: {json.dumps(value)}", text)
        assert count == 1
    Path("params.yaml").write_text(text, encoding="utf-8")


def words(page: str) -> str:
    """The page's words, with single spaces and without markup."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", page)).split())


def test_one_model_needs_nothing_of_a_training(tree: Path) -> None:
    configure(models=["base"])
    shutil.rmtree("data/about/finetuned")
    text = Path("params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(text[: text.index("finetune:")], encoding="utf-8")
    stage.main()
    page = report.PAGE.read_text(encoding="utf-8")
    assert not [part for part in TRAINING if part in page]
    assert "seen in training" not in page
    assert "McNemar" not in page, "there is nothing to compare"
    clean, robust = (100 * accuracies_of("base")[key] for key in ("clean", "robust"))
    text = f"“base” is right on {clean:.1f} % of the clean images and on {robust:.1f} % under"
    assert text in words(page)
    assert "training, 30 steps" not in page
    assert list(json.loads(METRICS.read_text())["mean"]) == ["base"]


def accuracies_of(model: str) -> dict[str, float]:
    return json.loads(METRICS.read_text())["mean"][model]


def test_two_models_of_which_none_was_trained_here(tree: Path) -> None:
    for name in ("shapes", "digits"):
        write_set(tree, name, 60, {"base": 0.02, "fare2": 0.5}, 1)
    write_checks(tree, "shapes", ["base", "fare2"])
    write_about(tree, "fare2", defended="true")
    configure(models=["base", "fare2"])
    page = report.render(read_inputs())
    assert "Against “base”, “fare2” takes accuracy under attack" in words(page)
    assert not [part for part in TRAINING if part in page]


def test_many_models_have_a_row_each(six: Path) -> None:
    stage.main()
    page = report.PAGE.read_text(encoding="utf-8")
    lead = words(page.split('<p class="lead">')[1].split("</p>")[0])
    means = {model: accuracies_of(model) for model in SIX}
    assert lead.startswith("Of 6 models, “tecoa4” holds best under attack (l∞, ε = 4/255;")
    assert f"right on {100 * means['tecoa4']['robust']:.1f} % of the images" in lead
    assert f"against {100 * means['base']['robust']:.1f} % for “base”, the reference" in lead
    assert "It is ahead of every other model on 2 of 2." in lead
    tables = re.findall(r'<table class="results wide">.*?</table>', page, re.DOTALL)
    # a mean for every pair of texts and epsilon, and the two sets of each
    assert len(tables) == 4 * (1 + 2)
    for table in tables:
        assert re.findall(r'<th scope="row">([^<]+)</th>', table) == [
            "base", "fare2", "fine-tuned", "tecoa4", "own", "copy",
        ]  # fmt: skip
    (cell,) = re.findall(r'<th scope="row">tecoa4</th>\s*<td>([^<]+)</td>', tables[0])
    assert cell == f"{100 * means['tecoa4']['clean']:.1f}\u00a0%"


def test_a_reference_that_holds_best_is_said(six: Path) -> None:
    text = Path("params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(text.replace("reference: base", "reference: tecoa4"))
    page = words(report.render(read_inputs()))
    assert "None of the 5 other models holds better under attack" in page
    assert "the best other one, “fine-tuned”, on" in page
    assert "against tecoa4, points" in page


def test_every_other_pair_of_texts_and_epsilon_is_a_further_result(six: Path) -> None:
    inputs = read_inputs()
    page = report.render(inputs)
    assert [evaluated.about.epsilon_255 for evaluated in inputs.sets] == [4, 4]
    assert re.findall(r"<h3>(texts [^<]+)</h3>", page) == [
        f"texts “{texts}”, ε = {epsilon}/255"
        for texts, epsilon in (("unseen", 4), ("template", 2), ("unseen", 2))
    ]
    section = page.split("<h3>Accuracy over epsilon</h3>")[1].split("<h2>")[0]
    assert "ε = 2/255" in section.split("ε = 4/255")[0], "in rising order"
    at_two = next(s for s in inputs.further if s.about.epsilon_255 == 2)
    shares = [accuracies(at_two)["own"]["clean"]]
    shares += [accuracies(s)["own"]["robust"] for s in (at_two, inputs.sets[0])]
    row = "".join(f"<td>{100 * share:.1f}\u00a0%</td>" for share in shares)
    shapes = section.split("<b>shapes</b>")[1].split("</tbody>")[0]
    assert f'<tr><th scope="row">own</th>{row}</tr>' in shapes
    # examples are read for the headline alone
    assert list(inputs.sets[0].examples.models) == list(SIX)
    assert not any(evaluated.examples for evaluated in inputs.further)


def test_examples_show_the_reference_the_tuned_and_the_best(six: Path) -> None:
    page = report.render(read_inputs())
    assert "as base, fine-tuned and tecoa4 saw them" in words(page)
    assert page.count('class="trio"') == 2 * 2 * 3 * 2, "pictures and attention maps"
    mean = {"a": {"robust": 0.9}, "b": {"robust": 0.1}, "finetuned": {"robust": 0.2}}
    assert shown_models(mean, "a") == ["a", "finetuned"]
    assert shown_models({"a": {"robust": 0.9}}, "a") == ["a"]


def test_the_table_of_models(six: Path) -> None:
    page = report.render(read_inputs())
    table = page.split('<table class="models">')[1].split("</table>")[0]
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in table.split("<tr>")[2:]]
    assert [re.sub("<[^>]*>", "", row[0]) for row in rows] == [
        "base", "fare2", "fine-tuned", "tecoa4", "own", "copy",
    ]  # fmt: skip
    assert [row[2] for row in rows] == ["no", "yes", "yes", "yes", "no", "yes"]
    assert [row[6] for row in rows] == ["A", "A", "A", "A", "B", "A"]
    assert rows[1][1] == "hub (https://x.invalid/fare2) fare2"
    assert rows[1][7] == "reshaped"
    assert (rows[1][3], rows[4][3]) == ("–", "mit")
    assert rows[0][4] == "1.2\u00a0M"
    assert "own: Doe et al. &amp; others" in page


def test_letters_numbers_and_marks_of_the_table(six: Path) -> None:
    about = read_inputs().about
    many = {f"m{i}": about["base"].model_copy(update={"text_tower": str(i)}) for i in range(28)}
    assert list(text_towers(many).values())[25:] == ["Z", "AA", "AB"]
    assert [millions(n) for n in (63000, 151277313)] == ["0.063\u00a0M", "151.3\u00a0M"]
    assert plain_text("[a](b) and `c`") == "a (b) and c"


def test_twelve_models_differ_in_colour_and_marker() -> None:
    styles = [model_style(index) for index in range(12)]
    assert len({style.colour for style in styles}) == 12
    assert len({style.marker for style in styles}) == 12
    assert len({style.hatch for style in styles[:4]}) == 4, "four stand as bars"


def test_settings_and_files_that_do_not_fit_are_one_line(tree: Path) -> None:
    for old, new, message in (
        ("reference: base", "reference: bass", "report.reference: 'bass' is not in evaluate.mod"),
        ("[base, finetuned]", "[]", "evaluate: key 'models'"),
        ("[4]", "[]", "evaluate: key 'epsilons_255'"),
        ("[4]", "[8]", r"data/evaluation/shapes/template/pgd/8/base/metrics.json: not found"),
    ):
        Path("params.yaml").write_text(PARAMS.replace(old, new), encoding="utf-8")
        with pytest.raises(UserError, match=message):
            read_inputs()
    Path("params.yaml").write_text(PARAMS, encoding="utf-8")
    shutil.copy("data/about/base/about.json", "data/about/finetuned/about.json")
    with pytest.raises(UserError, match="finetuned/about.json: is about 'base'"):
        read_inputs()


def test_classes_seen_in_training_are_counted_from_the_class_tables(tree: Path) -> None:
    assert read_inputs().training.seen == {"shapes": len(CLASSES["shapes"]), "digits": 0}
    assert "1 of the sets has no class that was fine-tuned on" in words(
        report.render(read_inputs())
    )


def test_a_copy_of_a_model_is_said_to_be_one(six):
    about = read_about(list(SIX))
    about["copy"] = about["base"].model_copy(update={"name": "copy"})
    notes = {row["title"]: row["notes"] for row in models_view(about)}
    assert notes["copy"] == ["the weights of base"]
    assert not any(
        "the weights of" in note for name in SIX if name != "copy" for note in notes.get(name, [])
    )
