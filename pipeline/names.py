"""Names in params.yaml that later stages load plug-ins by, checked before any of them runs.

DVC itself would only say that a dependency does not exist, and only when the stage's turn comes:
for an attack that is after the training.
"""

from pipeline import registry
from pipeline.params import PARAMS_FILE, read_value


def check_names() -> None:
    """Method and attacks.

    Raises:
        UserError: one does not exist; the key and those there are are named.
    """
    method = read_value("finetune.method", str)
    registry.check("pipeline.methods", method, f"{PARAMS_FILE}: finetune.method")
    for attack in read_value("evaluate.attacks", list[str]):
        registry.check("pipeline.attacks", attack, f"{PARAMS_FILE}: evaluate.attacks")
