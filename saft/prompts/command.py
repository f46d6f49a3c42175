"""`saft prompts`: let a language model write the questions of a prompt set."""

from typing import Annotated

import typer

from saft.errors import one_line_errors

app = typer.Typer(
    name="prompts",
    help="Let a language model write the questions of a prompt set.",
    no_args_is_help=True,
)


@app.command()
@one_line_errors()
def write(
    name: Annotated[str, typer.Argument(help="of the new prompt set: data/prompts/NAME.yaml")],
    about: Annotated[
        str, typer.Option(help='the data set in a sentence: "satellite photographs of land use"')
    ],
    questions: Annotated[int, typer.Option(min=1, max=40, help="how many to ask for")] = 10,
) -> None:
    """Ask the model of describe.backend (vllm or openai) for questions that fit a data set.

    They are asked about no class before you have read them and set `reviewed: true` in the file.
    """
    from saft.prompts.writing import write_prompts  # slow: only here, so --help is quick

    path, texts = write_prompts(name, about, questions)
    typer.echo("\n".join([f"{path}:", *(f"  {text}" for text in texts)]))
    if len(texts) < questions:
        typer.echo(f"{questions - len(texts)} of {questions} could not be used")
    typer.echo(
        f"Read the questions in {path}, edit them, and set reviewed: true; then set "
        f"describe.prompts: {name}"
    )
