"""The `saft` command: what people do by hand (stages are run by `dvc repro`)."""

import atexit
import gc

import typer

from saft import info as info_cli
from saft.check import command as check_cli
from saft.compare import command as compare_cli
from saft.cost import command as cost_cli
from saft.descriptions import command as descriptions_cli
from saft.evaluation import command as evaluate_cli
from saft.export import command as export_cli
from saft.inference import attack as attack_cli
from saft.inference import predict as predict_cli
from saft.prompts import command as prompts_cli
from saft.use import command as use_cli

app = typer.Typer(
    name="saft",
    help="Semantic-aware adversarial fine-tuning of CLIP. The pipeline itself runs by "
    "`dvc repro`; this command classifies and attacks images with a trained model, evaluates any "
    "CLIP, shows what is installed and registered, compares methods, tells what the stages cost, "
    "looks after description artifacts, and lets a language model write prompt sets.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("info")(info_cli.main)
app.command("evaluate")(evaluate_cli.main)
app.command("predict")(predict_cli.main)
app.command("attack")(attack_cli.main)
app.command("compare")(compare_cli.main)
app.command("cost")(cost_cli.main)
app.command("check")(check_cli.main)
app.command("export")(export_cli.main)
app.command("profiles")(use_cli.list_profiles)
app.command("use")(use_cli.use)
app.add_typer(descriptions_cli.app)
app.add_typer(prompts_cli.app)


def main() -> None:
    """The command; at its end torch's modules are not searched for garbage, which takes seconds."""
    atexit.register(gc.freeze)
    app()


if __name__ == "__main__":
    main()
