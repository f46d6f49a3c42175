"""Pack one image set: `python -m stages.prepare <set>`.

Reads params.yaml `prepare.<set>`; writes data/images/<set>/ and data/classes/<set>.parquet.
"""

from typing import Annotated, Any

import typer

from pipeline import prepare, registry
from pipeline.errors import UserError
from pipeline.images import CLASSES, IMAGES
from pipeline.params import PARAMS_FILE, read_value, validate
from stages.runner import stage


@stage("prepare")
def main(name: Annotated[str, typer.Argument(help="a set of the section `prepare`")]) -> None:
    """Decode every image of one registered set once, into a memory-mappable uint8 file."""
    specs = read_value("prepare", dict[str, dict[str, Any]])
    if name not in specs:
        raise UserError(f"{PARAMS_FILE}: prepare has no set '{name}', only {', '.join(specs)}")
    where = f"{PARAMS_FILE}: prepare.{name}"
    spec = specs[name]
    source = str(spec.get("source", "(missing)"))
    module = registry.load("pipeline.datasets", source, f"{where}.source")
    opened = module.open_source(validate(spec, module.Params, where))
    prepare.pack(opened, name, IMAGES / name, CLASSES / f"{name}.parquet")


if __name__ == "__main__":
    typer.run(main)
