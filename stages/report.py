"""Write the report: `python -m stages.report`.

Reads params.yaml and data/; writes reports/metrics.json, reports/headline.json, reports/plots/ and
reports/report.html. With evaluate.strict it fails, after that, if the evaluation failed a check.
"""

import csv

import typer

from pipeline.common.atomic import replacing_file
from pipeline.common.errors import UserError
from pipeline.common.tables import write_json
from pipeline.report import page as report
from pipeline.report import training_log
from pipeline.report.inputs import read_inputs
from pipeline.results.files import METRICS
from pipeline.soundness.measurements import Check
from stages.runner import stage


@stage("report")
def main() -> None:
    """Write everything, then rename: what fails leaves the old report untouched."""
    inputs = read_inputs()
    with (
        replacing_file(METRICS) as metrics,
        replacing_file(report.HEADLINE) as headline,
        replacing_file(report.ACCURACY) as accuracy,
        replacing_file(training_log.CURVE) as validation,
        replacing_file(report.PAGE) as page,
    ):
        page.write_text(report.render(inputs), encoding="utf-8")
        numbers = report.metrics(inputs)
        write_json(metrics, numbers)
        write_json(headline, report.headline(numbers))
        curve = training_log.curve_rows(inputs.training.log if inputs.training else {})
        for path, rows in ((accuracy, report.accuracy_rows(inputs)), (validation, curve)):
            with path.open("w", encoding="utf-8") as file:
                csv.writer(file, lineterminator="\n").writerows(rows)
    if inputs.evaluate.strict:
        insist(report.open_checks(inputs))


def insist(failed: list[Check]) -> None:
    """Raise a UserError that names the checks that did not pass, if there are any."""
    if failed:
        named = "; ".join(
            f"{check.name} ({check.where}: {check.measured}"
            f"{', could not be judged' if check.passed is None else ''})"
            for check in failed
        )
        raise UserError(
            f"evaluate.strict: {len(failed)} check(s) of the evaluation did not pass: {named}; "
            f"{report.PAGE} says what that means"
        )


if __name__ == "__main__":
    typer.run(main)
