"""The picture for the README, drawn from results as SVG that follows light and dark."""

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import NamedTuple

from benchmarks.report import TIMES, seconds, times
from benchmarks.results import Results
from benchmarks.ways import BASELINE, BY_NAME

_GROUPS = (
    ("array-large", "load", "Load"),
    ("array-large", "dump", "Dump"),
    ("forest-large", "load", "Load"),
    ("tuples", "load", "Load"),
    ("iris", "both", "Dump and load"),
)
_WAYS = ("pickleseal", "hmac", "modelstamp", "securepickle", "joblib", "skops")

_WIDTH = 700
_LEFT = 152
_RIGHT = 640
_TOP = 76
_BAR = 13
_STEP = 19
_TITLE = 26
_GAP = 10
_MOST_TICKS = 9

_STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328; }
.head { font-size: 16px; font-weight: 600; }
.title { font-weight: 600; }
.soft, .scale { fill: #59636e; }
.scale { font-size: 12px; }
.grid { stroke: #d1d9e0; stroke-width: 1; }
.one { stroke: #1f2328; stroke-width: 1.5; }
.ours { fill: #0a7d4b; }
.checks { fill: #8c959f; }
.none { fill: none; stroke: #8c959f; stroke-width: 1.2; }
text.mine { font-weight: 600; fill: #0a7d4b; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; }
  .soft, .scale { fill: #9198a1; }
  .grid { stroke: #3d444d; }
  .one { stroke: #f0f6fc; }
  .ours { fill: #3fb950; }
  .checks { fill: #7d8590; }
  .none { stroke: #7d8590; }
  text.mine { fill: #3fb950; }
}
"""


class _Bar(NamedTuple):
    way: str
    ratio: float


class _Group(NamedTuple):
    title: str
    aside: str
    bars: list[_Bar]


def draw(results: Results) -> str:
    """Return the picture. What was not measured is not in it."""
    groups = list(_groups(results))
    ratios = [bar.ratio for group in groups for bar in group.bars] or [1.0]
    low, high = _range(ratios)
    ticks = _ticks(low, high)

    def x(ratio: float) -> float:
        share = math.log(ratio / low) / math.log(high / low)
        return round(_LEFT + share * (_RIGHT - _LEFT), 1)

    body: list[str] = []
    y = _TOP
    for group in groups:
        y += _TITLE
        aside = f'<tspan class="soft" font-weight="400" dx="8">{escape(group.aside)}</tspan>'
        body.append(f'<text class="title" x="0" y="{y - 8}">{escape(group.title)}{aside}</text>')
        body += _grid(ticks, x, y, y + _STEP * len(group.bars))
        for bar in group.bars:
            body += _bar(bar, y, x)
            y += _STEP
        y += _GAP
    bottom = y - _GAP + 4
    ours = max((bar.ratio for g in groups for bar in g.bars if bar.way == "pickleseal"), default=1)
    told = (
        "Time to save and load objects, as a ratio to pickle, for pickleseal and other tools."
        f" pickleseal takes at most {ours:.1f} times as long as pickle here."
    )
    width, height = _WIDTH + 16, bottom + 26
    space = f'xmlns="http://www.w3.org/2000/svg" viewBox="-8 0 {width} {height}"'
    lines = [
        f'<svg {space} width="{width}" height="{height}" role="img" aria-labelledby="told">',
        f'<title id="told">{escape(told)}</title>',
        f"<style>{_STYLE}</style>",
        '<text class="head" x="0" y="20">Time beside pickle: further left is faster</text>',
        *_legend(),
        *_scale(ticks, x, bottom),
        *body,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _groups(results: Results) -> Iterable[_Group]:
    for name, part, verb in _GROUPS:
        case = next((case for case in results.cases if case.name == name), None)
        base = results.timing(name, part, BASELINE)
        if case is None or base is None:
            continue
        bars = [
            _Bar(way, timing.ratio)
            for way in _WAYS
            if (timing := results.timing(name, part, way)) is not None
        ]
        yield _Group(f"{verb}: {case.title}", f"pickle {seconds(base.median)}", bars)


def _range(ratios: Sequence[float]) -> tuple[float, float]:
    """Return the ends of the scale: powers of two around all ratios, with room for the labels."""
    low = 2.0 ** math.floor(math.log2(min(0.5, *ratios, 1) / 1.7))
    high = 2.0 ** math.ceil(math.log2(max(2.0, *ratios, 1) * 1.1))
    return low, high


def _bar(bar: _Bar, y: float, x: Callable[[float], float]) -> list[str]:
    way = BY_NAME[bar.way]
    ours = bar.way.startswith("pickleseal")
    kind = "ours" if ours else "checks" if way.checks else "none"
    start, end = sorted((x(1.0), x(bar.ratio)))
    width = round(max(end - start, 1), 1)
    middle = y + _BAR - 2
    text = times(bar.ratio) + TIMES
    mine = ' class="mine"' if ours else ""
    if bar.ratio < 1:
        label = f'<text{mine} x="{start - 5:g}" y="{middle}" text-anchor="end">{text}</text>'
    else:
        label = f'<text{mine} x="{end + 5:g}" y="{middle}">{text}</text>'
    return [
        f'<text{mine} x="{_LEFT - 12}" y="{middle}" text-anchor="end">{escape(way.label)}</text>',
        f'<rect class="{kind}" x="{start:g}" y="{y}" width="{width}" height="{_BAR}" rx="1.5"/>',
        label,
    ]


def _legend() -> list[str]:
    items = (
        ("ours", "pickleseal", 100),
        ("checks", "checks who wrote the file", 200),
        ("none", "checks nothing", 0),
    )
    parts, x = [], 0
    for kind, text, width in items:
        parts.append(f'<rect class="{kind}" x="{x + 0.6}" y="35" width="11" height="11" rx="1.5"/>')
        parts.append(f'<text class="soft" x="{x + 18}" y="45">{text}</text>')
        x += width
    return parts


def _ticks(low: float, high: float) -> list[float]:
    """Return the powers of two, or of four where they are many."""
    lowest, highest = round(math.log2(low)), round(math.log2(high))
    step = 1 if highest - lowest < _MOST_TICKS else 2
    return [2.0**power for power in range(lowest, highest + 1) if power % step == 0]


def _grid(
    ticks: Sequence[float], x: Callable[[float], float], top: float, bottom: float
) -> list[str]:
    kinds = {tick: "one" if tick == 1 else "grid" for tick in ticks}
    return [
        f'<line class="{kind}" x1="{x(tick):g}" y1="{top - 4}" x2="{x(tick):g}" y2="{bottom}"/>'
        for tick, kind in kinds.items()
    ]


def _scale(ticks: Sequence[float], x: Callable[[float], float], bottom: float) -> list[str]:
    return [
        f'<text class="scale" x="{x(tick):g}" y="{y}" text-anchor="middle">'
        f"{'pickle' if tick == 1 else f'{tick:g}{TIMES}'}</text>"
        for tick in ticks
        for y in (_TOP - 8, bottom + 14)
    ]
