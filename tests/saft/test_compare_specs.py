"""`saft compare`: what is asked for on the command line, and the runs that it becomes."""

import shlex
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from pipeline.common.errors import UserError
from pipeline.common.params import read_params
from saft.compare.runs import Run, planned
from saft.compare.specs import default_methods, parse_seeds, parse_spec, split_changes
from tests.support.project import DEMO


@pytest.fixture(scope="module")
def demo() -> dict[str, Any]:
    return read_params(DEMO)


def plan(demo: dict[str, Any], *texts: str, seeds: str = "") -> list[Run]:
    specs = [parse_spec(text, demo) for text in texts]
    return planned(specs, parse_seeds(seeds) if seeds else [], demo)


def applied(before: dict[str, Any], changes: list[str]) -> Any:
    """What DVC makes of `-S` arguments: by the library that it calls."""
    config = OmegaConf.create(before)
    OmegaConf.set_struct(config, True)
    ConfigLoaderImpl._apply_overrides_to_config(
        OverridesParser.create().parse_overrides(changes), config
    )
    return OmegaConf.to_container(config, resolve=False)


def test_an_option_of_the_method_and_a_path_of_params_are_told_apart(demo: dict[str, Any]) -> None:
    spec = parse_spec("saft:attention_norm=channel,filter.top_k=3", demo)
    assert spec.changes == {"finetune.options.saft.attention_norm": "channel", "filter.top_k": 3}
    assert spec.label == "SAFT (attention_norm = channel, filter.top_k = 3)"
    assert parse_spec("tecoa", demo).label == "TeCoA"


def test_all_methods_are_those_that_can_be_trained(demo: dict[str, Any]) -> None:
    names = default_methods(demo)
    assert names[0] == "saft"
    captioned = {"finetune": demo["finetune"] | {"captions": "captions.parquet"}}
    assert set(default_methods(captioned)) - set(names) == {"qt_aft"}


def test_values_are_those_of_params_yaml(demo: dict[str, Any]) -> None:
    spec = parse_spec(
        "saft:describe.only=[class 1,x],filter.min_margin=1e-3,filter.min_similarity=null", demo
    )
    assert list(spec.changes.values()) == [["class 1", "x"], 0.001, None]
    assert split_changes("a={b: [1,2],c: 3},d=4", "") == ["a={b: [1,2],c: 3}", "d=4"]


def test_a_run_is_params_yaml_with_its_changes_and_nothing_else(demo: dict[str, Any]) -> None:
    runs = plan(demo, "saft", "tecoa:finetune.blocks=2-2,learning_rate=0.01", seeds="0,7")
    assert [run.seed for run in runs] == [0, 7, 0, 7]
    for run in runs:
        assert applied(demo, run.changes(demo)) == run.values
    last = runs[-1].values
    assert last["finetune"]["method"] == "tecoa"
    assert (last["finetune"]["seed"], last["finetune"]["blocks"]) == (7, "2-2")
    assert last["finetune"]["options"]["tecoa"]["learning_rate"] == 0.01
    assert last["evaluate"]["last_images"] == 0
    assert last["evaluate"]["checks"]["datasets"] == []
    assert last["filter"] == demo["filter"]
    assert "finetune.seed=7" in runs[1].changes(demo)
    assert not any(change.startswith("finetune.seed") for change in runs[0].changes(demo))
    assert runs[3].label == "TeCoA (finetune.blocks = 2-2, learning_rate = 0.01), seed 7"


def test_only_the_first_epsilon_is_evaluated(demo: dict[str, Any]) -> None:
    wide = {**demo, "evaluate": {**demo["evaluate"], "epsilons_255": [2.5, 4]}}
    [run] = plan(wide, "saft")
    assert "evaluate.epsilons_255=[2.5]" in run.changes(wide)


def test_experiments_of_one_seed_keep_their_names(demo: dict[str, Any]) -> None:
    texts = ("saft", "saft:attention_norm=channel", "tecoa:learning_rate=1e-3", "fare")
    assert [run.experiment for run in plan(demo, *texts)] == [
        "compare-saft",
        "compare-saft-attention-norm-channel",
        "compare-tecoa-learning-rate-1e-3",
        "compare-fare",
    ]


def test_names_are_unique_and_valid(demo: dict[str, Any]) -> None:
    texts = [
        "saft", "saft:filter.top_k=3", "saft:filter.min_margin=-.1", "saft:filter.min_margin=.1",
        "saft:describe.backend=published,describe.options.published.file=a_b.json",
        "saft:describe.backend=published,describe.options.published.file=a-b.json",
        "saft:describe.backend=published,describe.options.published.file=a b.json",
        f"saft:filter.template={'a ' * 200}{{}}",
    ]  # fmt: skip
    names = [run.experiment for run in plan(demo, *texts, seeds="0,12")]
    assert len(set(names)) == 2 * len(texts)
    assert names[:4] == [
        "compare-saft-seed-0", "compare-saft-seed-12",
        "compare-saft-filter-top-k-3-seed-0", "compare-saft-filter-top-k-3-seed-12",
    ]  # fmt: skip
    for name in names:
        assert name.replace("-", "").isalnum()
        assert name.isascii()
        assert len(name) < 160


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("safd", "'safd' is not one of .*saft"),
        ("saft:attention=1", r"attention is no option of saft; params.yaml.*has learning_rate"),
        ("saft:attention_norm", "attention_norm has no value; write KEY=VALUE"),
        ("saft:filter.top_k=", "filter.top_k has no value"),
        ("saft:filter.topk=3", "params.yaml has no filter.topk; filter has top_k, reference"),
        ("saft:filter.top_k.x=3", "params.yaml has no filter.top_k.x; filter.top_k has no keys"),
        ("saft:filtre.top_k=3", "params.yaml has no filtre.top_k; it has data, prepare"),
        ("saft:filter=3", "filter is a section of params.yaml; name a key of it"),
        ("saft:filter.top_k=[1,2", "a ']' is missing; write KEY=VALUE,..., with commas in"),
        ("saft:filter.top_k=1],a=2", "nothing opens a ']'"),
        ("saft:filter.top_k=[1}", "nothing opens a '}'"),
        ("saft:filter.top_k=@", "filter.top_k: not a value as in params.yaml"),
        ("saft:filter.top_k=1,filter.top_k=2", "filter.top_k is there twice"),
        (
            "saft:attention_norm=token,finetune.options.saft.attention_norm=channel",
            "finetune.options.saft.attention_norm is there twice",
        ),
        ("saft:finetune.method=tecoa", "finetune.method is METHOD itself, before the colon"),
        ("saft:evaluate.images=3", "evaluate.images is the same for all runs, or they could not"),
        ("saft:models.base.source=local", "models.base.source is the same for all runs"),
        ("saft:prepare.sets.digits.images=3", "prepare.sets.digits.images is the same for all"),
        ("saft:embed.texts.template.default=['a {}']", "embed.texts.template.default is the same"),
        (
            "saft:finetune.options.tecoa.learning_rate=1",
            "finetune.options.tecoa.learning_rate changes nothing here: an option of another one",
        ),
        (
            "saft:describe.options.published.file=x",
            "describe.options.published.file changes nothing here.*than bundled",
        ),
    ],
)
def test_what_cannot_be_asked_for_is_one_line(
    demo: dict[str, Any], text: str, message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        parse_spec(text, demo)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,1,0", "--seeds: 0 is there twice"),
        ("1,01", "--seeds: 1 is there twice"),
        ("0,-1", "--seeds: '-1' is no integer from 0 on; write --seeds 0,1,2"),
        ("1.5", "--seeds: '1.5' is no integer"),
        ("a", "--seeds: 'a' is no integer"),
        ("", "--seeds: '' is no integer"),
        ("0,", "--seeds: '' is no integer"),
    ],
)
def test_seeds_that_are_none_are_one_line(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_seeds(text)
    assert parse_seeds("3, 0,12") == [3, 0, 12]


def test_the_same_run_twice_is_refused_however_it_is_written(demo: dict[str, Any]) -> None:
    same = "are the same run, by what params.yaml says; leave one out"
    for texts in (
        ("saft", "saft"),
        ("saft", f"saft:filter.top_k={demo['filter']['top_k']}"),
        ("tecoa:finetune.epochs=2,learning_rate=1", "tecoa:learning_rate=1.0,finetune.epochs=2"),
    ):
        with pytest.raises(UserError, match=same):
            plan(demo, *texts)


def test_what_params_yaml_would_not_take_is_refused_before_anything_runs(
    demo: dict[str, Any],
) -> None:
    for text, message in (
        ("saft:filter.top_k=x", "'saft:filter.top_k=x': params.yaml: filter: .*top_k"),
        ("saft:describe.backend=nobody", "describe.backend: 'nobody' is not one of"),
        ("saft:attention_norm=words", "attention_norm"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            plan(demo, text)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="finetune.seed is given by --seeds already; leave one"):
        plan(demo, "saft:finetune.seed=4", seeds="1,2")
    with pytest.raises(UserError, match="seed"):
        plan(demo, "saft", seeds="999999999999999999")


def test_changes_survive_the_shell(demo: dict[str, Any]) -> None:
    [run] = plan(demo, 'saft:filter.template=it\'s a "{}"; $x')
    words = [part for change in run.changes(demo) for part in ("-S", change)]
    assert shlex.split(shlex.join(words)) == words
    assert applied(demo, run.changes(demo)) == run.values
