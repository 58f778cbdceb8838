"""Draw the model of README.md: `python docs/draw_model.py` writes docs/model.svg."""

from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

INK, GREY, BLUE, ORANGE, GREEN = "#222222", "#e9ecef", "#a5c8f0", "#f6c28b", "#b5d8a8"
BOXES = {  # centre, width, colour, text
    "mixture": (0.0, 1.3, GREY, "Mixture STFT\n|X|$^{p}$  (F × N)"),
    "encoder": (2.0, 1.3, BLUE, "Encoder\nTransformer"),
    "slots": (4.0, 1.3, ORANGE, "Slots  (K)\nattend to\nthe tokens"),
    "decoder": (6.0, 1.3, BLUE, "Decoder\nper slot"),
    "masks": (8.0, 1.3, GREY, "Masks (K)\nF × N each"),
    "estimates": (10.0, 1.3, GREEN, "Estimates\nS$_1$ … S$_K$"),
}
HEIGHT = 0.8


def draw_arrow(axes: plt.Axes, start: tuple[float, float], end: tuple[float, float], **style: object) -> None:
    """An arrow between two points of the diagram."""
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=11, color=INK, lw=1.1, **style))


def main() -> None:
    """Write docs/model.svg, the same bytes each time."""
    mpl.rcParams.update({"svg.hashsalt": "model", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9})
    figure, axes = plt.subplots(figsize=(8.6, 2.0), layout="constrained")
    for centre, width, colour, text in BOXES.values():
        corner = (centre - width / 2, -HEIGHT / 2)
        axes.add_patch(
            FancyBboxPatch(corner, width, HEIGHT, "round,pad=0,rounding_size=0.08", fc=colour, ec=INK, lw=0.8)
        )
        axes.text(centre, 0, text, ha="center", va="center", color=INK)
    centres = [centre for centre, *_ in BOXES.values()]
    for left, right in zip(centres, centres[1:], strict=False):
        draw_arrow(axes, (left + 0.65, 0), (right - 0.65, 0))
    draw_arrow(axes, (2.0, 0.42), (6.0, 0.42), connectionstyle="arc3,rad=-0.22", linestyle="--")
    axes.text(4.0, 1.0, "FiLM decoder only: encoder skip", ha="center", color=INK)
    draw_arrow(axes, (0.0, -0.42), (10.0, -0.42), connectionstyle="arc3,rad=0.09")
    axes.text(5.0, -1.12, "mixture magnitudes and phase, multiplied by the masks", ha="center", color=INK)
    axes.set(xlim=(-0.75, 10.75), ylim=(-1.3, 1.25))
    axes.axis("off")
    figure.savefig(Path(__file__).with_name("model.svg"), metadata={"Date": None}, facecolor="white")


if __name__ == "__main__":
    main()
