"""Whether DVC can read a params file.

DVC reads YAML by libyaml, which takes less than the YAML 1.2 that this project reads: within braces
it wants `hf-hub:name` in quotes.
"""

from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError


def unreadable_by_dvc(content: bytes, file: Path) -> list[str]:
    """A line on the first place that DVC stumbles over; none where there is none, or no libyaml.

    Args:
        content: of `file`, which this project has read.
    """
    try:
        YAML(typ="safe").load(content)
    except MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        return [f"{file}: {where}DVC cannot read it ({error.problem}); put the value in quotes"]
    return []
