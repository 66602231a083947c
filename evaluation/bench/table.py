"""The results of the bench as one table, the exponents of cost, and which goals are met."""

import dataclasses
import statistics

import numpy as np

from evaluation import tables
from evaluation.bench import codecs, coder, commands, stages

WAYS = ("encode", "decode")
COLUMNS = (
    "part",
    "of",
    "size",
    "unit",
    "encode",
    "encode ratio",
    "decode",
    "decode ratio",
    "encode MB",
    "decode MB",
    "bytes",
)
LEFT = COLUMNS[:4]  # columns of names
BASES = {  # what the ratios of a part are to
    "coder": coder.OURS,
    "codecs": codecs.OURS["variable"].name,
    "commands": commands.IMPORT,
    "stages": stages.WHOLE,
}
# The goals.
MOST_OF_IMPORT, MOST_MEGABYTES, MOST_EXPONENT = 0.5, 300, 1.05
MOST_OF_DECODING = {"entropy model and coder": 0.4, "coder": 0.05}
LEAST_TIMES = {"mbt2018-mean": 4, "bmshj2018-factorized": 2}  # that variable mode is faster than each


@dataclasses.dataclass(frozen=True)
class Spread:
    """The median of some runs, the least and the most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))

    def __truediv__(self, other: "Spread") -> "Spread":
        """The ratio of the medians, and the least and the most that the runs allow."""
        return Spread(self.median / other.median, self.least / other.most, self.most / other.least)

    def scaled(self, factor: float) -> "Spread":
        """Multiplied by a number."""
        return Spread(self.median * factor, self.least * factor, self.most * factor)

    def __str__(self):
        return f"{_text(self.median)} ({_text(self.least)} to {_text(self.most)})"


def _text(value):
    """A number with three digits that count, without an exponent."""
    if value == 0 or not np.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - int(np.floor(np.log10(abs(value)))))
    return f"{value:,.{min(digits, 6)}f}"


def spread(row: dict, way: str) -> Spread | None:
    """The seconds of a row, or None where there are none; way: one of WAYS."""
    return Spread.of(row[f"{way} seconds"]) if f"{way} seconds" in row else None


def base(found: dict, row: dict, way: str) -> Spread | None:
    """The seconds that a row's are compared with, or None where they were not measured."""
    for other in found["rows"]:
        same = [other.get(key) == row.get(key) for key in ("part", "mode", "megapixels")]
        if all(same) and other["of"] == BASES[row["part"]]:
            return spread(other, "encode" if row["part"] == "commands" else way)
    return None


def rows(found: dict) -> list[dict]:
    """The table: a dict with COLUMNS for each row of the results, and for each exponent; "-" is not known."""
    table = [_row(found, row) for row in found["rows"]]
    for name, exponents in growth(found).items():
        numbers = {way: f"{exponent:.2f}" for way, exponent in exponents.items()}
        table.append(_filled({"part": "growth", "of": name, "unit": "exponent"} | numbers))
    return table


def _row(found, row):
    size, unit, scale = _measure(row)
    of = f"{row['of']}, {row['setting']}" if "setting" in row else row["of"]
    cells = {"part": row["part"], "of": of, "size": size, "unit": unit}
    for way in WAYS:
        seconds, compared = spread(row, way), base(found, row, way)
        if seconds:
            cells[way] = str(seconds.scaled(scale))
        if seconds == compared:  # which says nothing
            cells[f"{way} ratio"] = "1" if seconds else "-"
        elif seconds and compared:
            cells[f"{way} ratio"] = str(seconds / compared)
        if f"{way} MB" in row:
            cells[f"{way} MB"] = f"{row[f'{way} MB']:.0f}"
    if "bytes" in row:
        cells["bytes"] = f"{row['bytes']:,}"
    return _filled(cells)


def _filled(cells):
    return dict.fromkeys(COLUMNS, "-") | cells


def _measure(row):
    """Of a row: its size, the unit of its times, and how many of these a second is."""
    if row["part"] == "coder":
        return f"{row['symbols']:,} symbols, {row['mode']}", "ns/symbol", 1e9 / row["symbols"]
    if row["part"] == "codecs":
        return f"{row['megapixels']:g} MP", "s/MP", 1e6 / row["pixels"]
    if row["part"] == "commands":
        return "512x512", "s", 1
    return "512x512", "ms", 1000


def growth(found: dict) -> dict[str, dict[str, float]]:
    """The exponents of cost against pixels, by codec and way, of codecs that have two sizes."""
    points = {}
    for row in found["rows"]:
        if row["part"] == "codecs" and "note" not in row:
            points.setdefault(row["of"], []).append(row)
    exponents = {}
    for name, measured in points.items():
        if len(measured) > 1:
            pixels = [row["pixels"] for row in measured]
            exponents[name] = {
                way: exponent(pixels, [spread(row, way).median for row in measured]) for way in WAYS
            }
    return exponents


def exponent(pixels: list[int], seconds: list[float]) -> float:
    """The slope of log seconds against log pixels by least squares: 1 where cost grows as the pixels do."""
    return float(np.polyfit(np.log(pixels), np.log(seconds), 1)[0])


def origin(found: dict) -> str:
    """When the results were measured, on what and with what, in a line."""
    machine, settings = found["machine"], found["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    where = f"{machine['processor']}, {machine['cores']} cores"
    return f"Measured on {found['date']}, {settings['repeats']} runs; {where}; {versions}."


def notes(found: dict) -> list[str]:
    """What was not measured, and why, in lines."""
    lines = [
        f"{row['of']}, {row['megapixels']:g} MP: {row['note']}" for row in found["rows"] if "note" in row
    ]
    return list(dict.fromkeys(lines))


def goals(found: dict) -> list[str]:
    """The goals that the results tell about, each with its figure and "met" or "not met"."""
    return [*_of_commands(found), *_of_growth(found), *_of_stages(found), *_of_codecs(found)]


def _of_commands(found):
    for row in found["rows"]:
        if row["of"] == commands.SCRIPTS:
            for script, way in zip(row["of"].split(", "), WAYS):
                ratio, peak = spread(row, way) / base(found, row, way), row[f"{way} MB"]
                text = f"{script}, at most {MOST_OF_IMPORT} of the import of PyTorch: {ratio}"
                yield _goal(text, ratio.median <= MOST_OF_IMPORT)
                yield _goal(f"{script}, at most {MOST_MEGABYTES} MB: {peak:.0f}", peak <= MOST_MEGABYTES)


def _of_growth(found):
    for name, exponents in growth(found).items():
        for way in WAYS if name in [ours.name for ours in codecs.OURS.values()] else ():
            text = f"{name}, {way}, exponent of cost at most {MOST_EXPONENT}: {exponents[way]:.2f}"
            yield _goal(text, exponents[way] <= MOST_EXPONENT)


def _of_stages(found):
    medians = {row["of"]: spread(row, "decode").median for row in found["rows"] if row["part"] == "stages"}
    for names, most in MOST_OF_DECODING.items() if medians else ():
        share = sum(medians[name] for name in names.split(" and ")) / medians[stages.WHOLE]
        yield _goal(f"{names}, at most {most:.0%} of decoding: {share:.1%}", share <= most)


def _of_codecs(found):
    for row in found["rows"]:
        least = LEAST_TIMES.get(row["of"]) if "note" not in row else None
        for way in WAYS if least else ():
            times = spread(row, way) / base(found, row, way)
            text = f"{way}, {row['megapixels']:g} MP, {least} times as fast as {row['of']}: {times}"
            yield _goal(text, times.median >= least)


def _goal(text, is_met):
    return f"{text}: {'met' if is_met else 'not met'}"


def markdown(found: dict) -> str:
    """The origin, the table, the notes and the goals as docs/results.md has them."""
    text = "\n".join(tables.lines(rows(found), LEFT, as_markdown=True))
    lists = ["\n".join(f"- {line}" for line in group) for group in (notes(found), goals(found)) if group]
    return "\n\n".join([origin(found), text, *lists]) + "\n"


def show(found: dict, as_markdown: bool = False):
    """Print the origin, the table, the notes and the goals, for a terminal or as `markdown`."""
    if as_markdown:
        print(markdown(found), end="")
        return
    print(origin(found))
    tables.show(rows(found), LEFT)
    for line in notes(found) + goals(found):
        print(line)
