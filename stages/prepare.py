"""Pack one image set: `python -m stages.prepare <set>`.

Reads params.yaml `prepare.sets.<set>`; writes data/images/<set>/ and data/classes/<set>.parquet.
A killed run goes on from .scratch/.
"""

from typing import Annotated

import typer

from pipeline.common import names, registry
from pipeline.common.errors import UserError
from pipeline.common.params import PARAMS_FILE, read_section, validate
from pipeline.images.classes import CLASSES
from pipeline.images.image_set import IMAGES
from pipeline.prepare import pack as prepare
from pipeline.prepare.pack import PrepareParams
from pipeline.prepare.summary import lines
from stages.runner import stage


@stage("prepare")
def main(name: Annotated[str, typer.Argument(help="a set of prepare.sets")]) -> None:
    """Decode every image of one set once, into a memory-mappable uint8 file."""
    names.check([name], "prepare.sets")
    params = read_section("prepare", PrepareParams)
    if name not in params.sets:
        known = ", ".join(params.sets)
        raise UserError(f"{PARAMS_FILE}: prepare.sets has no set '{name}', only {known}")
    where = f"{PARAMS_FILE}: prepare.sets.{name}"
    spec = params.sets[name]
    source = str(spec.get("source", "(missing)"))
    module = registry.load("pipeline.datasets", source, f"{where}.source")
    opened = module.open_source(validate(spec, module.Params, where))
    summary = prepare.pack(
        opened, name, IMAGES / name, CLASSES / f"{name}.parquet", params.on_unreadable
    )
    print("\n".join(lines(name, summary)), flush=True)


if __name__ == "__main__":
    typer.run(main)
