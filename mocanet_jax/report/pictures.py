"""What all pictures share: colours, light axes, and files that are complete or absent.

Colours are those of Okabe and Ito (2008), distinguishable with any colour vision.
"""

import os
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"
PURPLE, SKY, VERMILION, YELLOW = "#CC79A7", "#56B4E9", "#D55E00", "#F0E442"
RED, INK, DARK_GREY, GREY = "#D00000", "#222222", "#555555", "#E3E3E3"
PARTS = {"experts": GREEN, "writes": BLUE, "reads": ORANGE}
"""What compute is spent on, the same colours in every picture."""

EXPERTS = [PURPLE, SKY, VERMILION, DARK_GREY, YELLOW, GREEN, BLUE, ORANGE]
"""Single experts, by their numbers; the first ones are no colour of a part."""

colour_map = LinearSegmentedColormap.from_list
SYMBOL_MAP = colour_map("symbol", ["#16325C", "#2E6FA7", "#74B4D4", "#C9DFC0", "#F7DC6F"])


def expert_colours(num_experts: int) -> list:
    """One colour an expert; shades from dark to light where there are more than EXPERTS."""
    if num_experts <= len(EXPERTS):
        return EXPERTS[:num_experts]
    return [SYMBOL_MAP(n / (num_experts - 1)) for n in range(num_experts)]


def percent(share: float) -> str:
    """A share as a person writes it: 40 %, 9.8 %, 0.35 %."""
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.0f} %"


def percent_axis(ax: Axes) -> None:
    """Labels the vertical axis, of shares, in percent."""
    ax.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g} %"))


def tidy(ax: Axes) -> None:
    """Light axes and a grid."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color("#999999")
    ax.tick_params(color="#999999", labelsize=9, grid_color=GREY, grid_linewidth=0.6)
    ax.grid(True)
    ax.set_axisbelow(True)


def patches(colours: dict[str, object]) -> list[Patch]:
    """A legend's squares, of colours by their labels."""
    return [Patch(color=colour, label=label) for label, colour in colours.items()]


def legend_above(ax: Axes, handles: list) -> None:
    """A legend in one row, on top of the axes and flush right."""
    style = {"frameon": False, "fontsize": 8.5, "handlelength": 1, "handleheight": 1}
    place = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0.1}
    ax.legend(handles=handles, ncols=len(handles), columnspacing=1.2, **style, **place)


def target_line(ax: Axes, target: float) -> Line2D:
    """The target of usage, dashed across the axes."""
    return ax.axhline(target, color=INK, linewidth=1.2, linestyle="--", label="target")


def plain_text(text: str) -> str:
    """A label that shows `text` as it stands, where matplotlib would set formulas, or leave out
    of a legend what begins with _."""
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def save(figure: Figure, path: Path) -> None:
    """Draws under a temporary name, then moves."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        figure.savefig(partial, format="png")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
