"""Write the report: `python -m stages.report`.

Reads params.yaml and what evaluate, finetune, filter and describe left in data/; writes
reports/metrics.json, reports/plots/accuracy.csv and reports/report.html.
"""

import csv

import typer

from pipeline import report
from pipeline.atomic import replacing_file
from pipeline.report_inputs import read_inputs
from pipeline.tables import write_json
from stages.runner import stage


@stage("report")
def main() -> None:
    """Render everything first, so that a bad input leaves the old report untouched."""
    inputs = read_inputs()
    page = report.render(inputs)
    write_json(report.METRICS, report.metrics(inputs))
    with replacing_file(report.ACCURACY) as partial, partial.open("w", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(report.accuracy_rows(inputs))
    with replacing_file(report.PAGE) as partial:
        partial.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
