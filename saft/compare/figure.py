"""The figure of a comparison: what each method pays in clean accuracy for robustness."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from pipeline.report.drawing import BASE, LINES, svg

MARKERS = "oDs^vP*X<>"


def clean_against_robust(points: Sequence[tuple[str, float, float]], attack: str) -> bytes:
    """SVG. points: (label, mean clean accuracy, mean accuracy under `attack`), the base model
    first, shares in 0..1."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for number, (label, clean, robust) in enumerate(points):
            colour = BASE if not number else LINES[(number - 1) % len(LINES)]
            axes.plot(
                100 * clean, 100 * robust, MARKERS[number % len(MARKERS)], color=colour,
                markerfacecolor="white" if not number else colour, markersize=8, label=label,
                clip_on=False,
            )  # fmt: skip
        axes.set(xlabel="clean accuracy [%], mean", ylabel=f"{attack} [%], mean")
        axes.margins(0.06)
        axes.set(title="Clean against robust", ylim=(0, None))
        figure.legend(loc="outside lower center", ncols=2)

    return svg(draw, 3.4 + 0.11 * len(points))
