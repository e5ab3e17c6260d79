"""Small plots as inline SVG: no script, no font, no network; they scale to a phone and print as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

WIDTH, HEIGHT = 360, 190
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 12, 34
COLOURS = ("#2563eb", "#d97706", "#059669", "#9333ea")


def lines(series: Mapping[str, Mapping[int, float]], *, title: str, x_label: str) -> Markup:
    """Curves of shares (0 to 1) over powers of two, e.g. pass@k and maj@k over k."""
    points = sorted({x for curve in series.values() for x in curve})
    if not points:
        return Markup("")
    most = max(1.0, np.log2(points[-1]))

    def place(x: int, y: float) -> tuple[float, float]:
        return _x(np.log2(x) / most), _y(y)

    parts = [_frame(title, x_label), _share_axis()]
    parts += [_text(place(x, 0)[0], HEIGHT - BOTTOM + 14, str(x), "middle") for x in points]
    for number, (name, curve) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        spots = [place(x, y) for x, y in sorted(curve.items())]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        parts.append(Markup('<polyline points="{}" fill="none" stroke="{}" stroke-width="2"/>').format(path, colour))
        parts += [Markup('<circle cx="{:.1f}" cy="{:.1f}" r="3" fill="{}"/>').format(x, y, colour) for x, y in spots]
        parts.append(_legend(number, name, colour))
    return _svg(title, parts)


def histogram(
    groups: Mapping[str, Sequence[float]], *, title: str, x_label: str, bins: int = 24, most: float | None = None
) -> Markup:
    """Stacked counts of one quantity by group, from 0."""
    values = [value for group in groups.values() for value in group]
    if not values:
        return Markup("")
    end = most if most is not None else max(1.0, *values)
    counts = {name: np.histogram(group, bins=bins, range=(0, end))[0] for name, group in groups.items()}
    tallest = max(1, int(np.sum(list(counts.values()), axis=0).max()))
    parts = [_frame(title, x_label), _text(LEFT - 6, _y(1) + 4, f"{tallest:,}", "end")]
    parts += [_text(_x(share), HEIGHT - BOTTOM + 14, f"{end * share:,.4g}", "middle") for share in (0, 0.5, 1)]
    base = np.zeros(bins)
    for number, (name, heights) in enumerate(counts.items()):
        colour = COLOURS[number % len(COLOURS)]
        for index, height in enumerate(heights):
            if height:
                top, bottom = _y((base[index] + height) / tallest), _y(base[index] / tallest)
                parts.append(
                    Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" fill="{}"/>').format(
                        _x(index / bins), top, (_x(1) - _x(0)) / bins - 1, bottom - top, colour
                    )
                )
        base += heights
        parts.append(_legend(number, name, colour))
    return _svg(title, parts)


def intervals(rows: Sequence[tuple[str, float, float, float]], *, title: str) -> Markup:
    """(label, mean, low, high) as dots with their interval on a scale of shares."""
    if not rows:
        return Markup("")
    height = TOP + 26 * len(rows) + 34
    parts = [Markup('<text x="8" y="14" class="title">{}</text>').format(title)]
    left, span = 130, WIDTH - 130 - 48
    for share in (0, 0.25, 0.5, 0.75, 1):
        x = left + span * share
        parts.append(Markup('<line x1="{0:.1f}" x2="{0:.1f}" y1="24" y2="{1}" class="grid"/>').format(x, height - 20))
        parts.append(_text(x, height - 6, f"{100 * share:.0f}", "middle"))
    for number, (label, mean, low, high) in enumerate(rows):
        y = TOP + 26 * number + 30
        parts.append(_text(left - 8, y + 4, label, "end"))
        parts.append(
            Markup('<line x1="{0:.1f}" x2="{1:.1f}" y1="{2}" y2="{2}" stroke="{3}" stroke-width="3"/>').format(
                left + span * low, left + span * high, y, COLOURS[0]
            )
        )
        parts.append(Markup('<circle cx="{:.1f}" cy="{}" r="5" fill="{}"/>').format(left + span * mean, y, COLOURS[0]))
        parts.append(_text(WIDTH - 4, y + 4, f"{100 * mean:.1f}", "end"))
    return _svg(title, parts, height)


def _x(share: float) -> float:
    return LEFT + float(share) * (WIDTH - LEFT - RIGHT)


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - float(share) * (HEIGHT - BOTTOM - TOP - 14)


def _share_axis() -> Markup:
    parts = []
    for share in (0, 0.5, 1):
        grid = Markup('<line x1="{0}" x2="{1}" y1="{2:.1f}" y2="{2:.1f}" class="grid"/>')
        parts.append(
            grid.format(LEFT, WIDTH - RIGHT, _y(share)) + _text(LEFT - 6, _y(share) + 4, f"{100 * share:.0f} %", "end")
        )
    return Markup("").join(parts)


def _frame(title: str, x_label: str) -> Markup:
    heading = Markup('<text x="8" y="14" class="title">{}</text>').format(title)
    axis = Markup('<line x1="{0}" x2="{1}" y1="{2}" y2="{2}" class="axis"/>').format(
        LEFT, WIDTH - RIGHT, HEIGHT - BOTTOM
    )
    return heading + axis + _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, x_label, "middle")


def _legend(number: int, name: str, colour: str) -> Markup:
    x = WIDTH - RIGHT - 76 * (number + 1)
    return Markup('<rect x="{}" y="6" width="9" height="9" fill="{}"/>').format(x, colour) + _text(x + 13, 14, name)


def _text(x: float, y: float, text: str, anchor: str = "start") -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(x, y, anchor, text)


def _svg(title: str, parts: Sequence[Markup], height: int = HEIGHT) -> Markup:
    opening = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(WIDTH, height, title)
    return opening + Markup("").join(parts) + Markup("</svg>")
