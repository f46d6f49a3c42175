"""Profiles that state what differs: values merged as dictionaries are, comments of both kept."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor

from pipeline.common.errors import UserError
from saft.use.commented_yaml import REPLACE, parse, to_text
from saft.use.overlay import EXTENDS
from saft.use.profiles import rendered
from tests.support.project import DEMO, ROOT

PROFILES = sorted((ROOT / "profiles").glob("*.yaml"))
OVERLAYS = [file for file in PROFILES if file != DEMO]
BASE = """\
# The base.
# In two lines.

# where
data:
  # a folder
  root: null

# sets
prepare:
  sets:
    # first
    one:
      source: shapes
      # how many
      images: 3
    two: {source: digits, skip: 1}

exemplars: {}
# training
finetune:
  options:
    # a method
    saft:
      # rate
      rate: 0.1
  # numbers
  # of things
  steps:
    - 1
    # the last
    - 2
  note: |
    kept

    as it is
  empty:
  epochs: 8  # many
"""


class Replacing(dict):
    """A mapping tagged !replace."""


def loaded(text: str) -> Any:
    class Constructor(SafeConstructor):
        pass

    def replacing(constructor, node):
        return Replacing(constructor.construct_mapping(node, deep=True))

    Constructor.add_constructor(REPLACE, replacing)
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = Constructor
    return yaml.load(text)


def merged(base: Any, change: Any) -> Any:
    """The semantics, on plain dictionaries."""
    both = isinstance(base, dict) and isinstance(change, dict)
    if not both or isinstance(change, Replacing):
        return change
    return base | {key: merged(base.get(key), change[key]) for key in change}


def values_of(profile: Path) -> Any:
    change = loaded(profile.read_text())
    base = change.pop(EXTENDS, None)
    return merged(values_of(profile.parent / f"{base}.yaml"), change) if base else change


def render(tmp_path: Path, text: str, base: str = BASE) -> str:
    (tmp_path / "base.yaml").write_text(base)
    (tmp_path / "mine.yaml").write_text(text)
    complete = rendered(tmp_path / "mine.yaml").decode()
    assert loaded(complete) == values_of(tmp_path / "mine.yaml")
    return complete


@pytest.mark.parametrize("text", [BASE, DEMO.read_text()], ids=["base", "demo"])
def test_text_comes_back_from_its_tree(text):
    assert to_text(parse(text, DEMO)) == text


@pytest.mark.parametrize("profile", OVERLAYS, ids=lambda file: file.stem)
def test_a_profile_has_the_values_of_a_merge_of_dictionaries(profile):
    values = loaded(rendered(profile).decode())
    assert values == values_of(profile)
    assert list(values) == list(loaded(DEMO.read_text()))
    assert EXTENDS not in values


def repeated(base: Any, change: Any, path: str = "") -> list[str]:
    """Keys that an overlay states with the value that they have anyway."""
    if isinstance(base, dict) and isinstance(change, dict) and not isinstance(change, Replacing):
        return [
            name
            for key in change
            if key in base
            for name in repeated(base[key], change[key], f"{path}.{key}".lstrip("."))
        ]
    return [path] if base == change else []


@pytest.mark.parametrize("profile", OVERLAYS, ids=lambda file: file.stem)
def test_an_overlay_states_only_what_differs(profile):
    """But for a protocol, whose evaluation is stated in full: no other profile changes it."""
    change = loaded(profile.read_text())
    base = values_of(profile.parent / f"{change.pop(EXTENDS)}.yaml")
    full = ("evaluate.",) if profile.stem.startswith("protocol-") else ()
    assert [key for key in repeated(base, change) if not key.startswith(full)] == []
    assert repeated(base, {"finetune": {"seed": 0, "epochs": -1}}) == ["finetune.seed"]


def test_a_complete_profile_is_its_own_bytes(tmp_path):
    content = b"a: &x {b: 1}   \r\nc: *x  # extends: base\n# the end"
    (tmp_path / "mine.yaml").write_bytes(content)
    assert rendered(tmp_path / "mine.yaml") == content


def test_a_comment_replaces_the_one_at_its_key_and_the_others_stay(tmp_path):
    changes = (
        "# Mine.\nextends: base  # the base\n\n"
        "finetune:\n    # one thing\n    steps: [3]\n    epochs: 9  # more\n"
    )
    assert render(tmp_path, changes) == (
        BASE.replace("# The base.\n# In two lines.\n", "# Mine.\n")
        .replace("  # numbers\n  # of things\n", "  # one thing\n")
        .replace("steps:\n    - 1\n    # the last\n    - 2\n", "steps: [3]\n")
        .replace("8  # many", "9  # more")
    )


def test_values_of_every_form_replace_and_are_replaced(tmp_path):
    changes = (
        "extends: base\nfinetune:\n  steps:\n  - {a: 1}\n  -\n  note: [1,\n    2]\n"
        "  empty: |\n    text\n  # of nothing\n\n  epochs:\ndata: {'root': \"x: # y\"}\n"
    )
    complete = render(tmp_path, changes)
    assert '  # a folder\n  root: "x: # y"\n' in complete
    assert "  empty: |\n    text\n  epochs:\n" in complete


def test_a_mapping_is_merged_unless_it_is_tagged(tmp_path):
    changes = (
        "extends: base\nprepare:\n  sets:\n    two: {skip: 2, size: 8}\n"
        "    # new\n    three:\n      source: digits\n"
    )
    sets = loaded(render(tmp_path, changes))["prepare"]["sets"]
    assert list(sets) == ["one", "two", "three"]
    assert sets["two"] == {"source": "digits", "skip": 2, "size": 8}
    complete = render(tmp_path, changes.replace("sets:", "sets: !replace  # all"))
    assert list(loaded(complete)["prepare"]["sets"]) == ["two", "three"]
    inline = "extends: base\nprepare: {sets: !replace {two: {source: digits}}}\n"
    assert list(loaded(render(tmp_path, inline))["prepare"]["sets"]) == ["two"]
    assert "  sets:  # all\n    two: {skip: 2, size: 8}\n    # new\n    three:\n" in complete


def test_the_user_names_sets_exemplars_and_plugins(tmp_path):
    changes = "extends: base\nexemplars:\n  near: {images: 1}\nfinetune: {options: {new: {a: 1}}}\n"
    complete = render(tmp_path, changes)
    assert "exemplars:\n  near: {images: 1}\n" in complete
    assert loaded(complete)["finetune"]["options"] == {"saft": {"rate": 0.1}, "new": {"a": 1}}
    assert "exemplars: {}\n" in render(tmp_path, "extends: base\nexemplars: {}\n")


def test_the_user_names_confusable_classes_by_text_and_by_images(tmp_path):
    by_text, by_images = "names: {classes_per_class: 3}", "photos: {classes_per_class: 2}"
    changes = f"extends: base\nconfusions:\n  text:\n    {by_text}\n  images:\n    {by_images}\n"
    complete = loaded(render(tmp_path, changes, DEMO.read_text()))
    assert complete["confusions"] == {
        "text": {"names": {"classes_per_class": 3}},
        "images": {"photos": {"classes_per_class": 2}},
    }
    with pytest.raises(UserError, match="confusions.words: no such key"):
        render(tmp_path, "extends: base\nconfusions: {words: {}}\n", DEMO.read_text())


def test_profiles_extend_one_another_in_chains(tmp_path):
    (tmp_path / "middle.yaml").write_text("# M.\nextends: base\nfinetune: {epochs: 2, note: x}\n")
    complete = render(tmp_path, "# Mine.\nextends: 'middle'\nfinetune: {epochs: 3}\n")
    assert complete.startswith("# Mine.\n\n# where\ndata:\n")
    assert loaded(complete)["finetune"] | {"epochs": 3, "note": "x"} == loaded(complete)["finetune"]


def test_line_ends_are_those_of_the_complete_file(tmp_path):
    changes = "extends: base\nfinetune:\n  steps:\n  - 1\n"
    lines = render(tmp_path, changes)
    (tmp_path / "base.yaml").write_bytes(BASE.replace("\n", "\r\n").encode())
    assert rendered(tmp_path / "mine.yaml") == lines.replace("\n", "\r\n").encode()
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "mine.yaml").write_bytes(b"\xef\xbb\xbf" + changes.replace("\n", "\r\n").encode())
    assert rendered(tmp_path / "mine.yaml").decode() == lines, "as editors of Windows write it"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extends: base\nfinetune: {epoch: 1}\n", "mine.yaml: finetune.epoch: no such key"),
        ("extends: base\nfinetune: {options: {saft: {rat: 1}}}\n", "finetune.options.saft.rat: no"),
        ("extends: base\nfinetun: {}\n", "finetun: no such key in .* only data, prepare, "),
        ("extends: base\ndata: {root: 1, root: 2}\n", "mine.yaml: line 2: 'root' is there twice"),
        ("extends: base\ndata:\n  root: 1\ndata: {}\n", "mine.yaml: line 4: 'data' is there twice"),
        ("data: {}\nextends: base\n", "mine.yaml: extends has to be the first key"),
        ("extends: nothing\n", "mine.yaml: extends: no profile 'nothing', only base, mine"),
        ("extends: ../base\n", "mine.yaml: extends: no profile '../base'"),
        ("extends:\ndata: {}\n", "mine.yaml: extends: expected the name of a profile"),
        ("extends: {a: 1}\n", "mine.yaml: extends: expected the name of a profile"),
        ("extends: [base]\n", "mine.yaml: extends: expected the name of a profile"),
        ("extends: mine\n", "mine.yaml: extends itself: mine -> mine"),
        ("{extends: base}\n", "mine.yaml: expected sections, each on lines of its own"),
        ("- extends\n", "mine.yaml: expected sections"),
        ("extends: base\na: [\n", "mine.yaml: not valid YAML"),
        ("extends: base\ndata: {root: &a 1}\nexemplars: *a\n", "line 3: 'exemplars' is an alias"),
    ],
)  # fmt: skip
def test_a_bad_overlay_is_one_line_with_file_and_key(tmp_path, text, message):
    with pytest.raises(UserError, match=message) as caught:
        render(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_a_cycle_is_named_with_the_file_that_closes_it(tmp_path):
    (tmp_path / "other.yaml").write_text("extends: mine\n")
    with pytest.raises(UserError, match="other.yaml: extends itself: mine -> other -> mine"):
        render(tmp_path, "extends: other\n")
