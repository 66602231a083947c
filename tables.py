"""The results of `evaluate.py` as tables for a terminal: ours, their means, and BD-rates."""

import results


def our_rows(found, settings):
    """The rows of our files among the results, setting by setting and image by image, with mode, quality and effort."""
    columns = [
        key
        for key in dict.fromkeys(key for row in found["rows"] for key in row)
        if key not in ("image", "codec", "setting", "same bytes as", "encode s", "decode s")
        and any(row.get(key) is not None for row in found["rows"])
    ]
    return [
        {"image": row["image"], "mode": setting.mode, "quality": setting.quality, "effort": setting.effort}
        | {key: row.get(key) for key in (*columns, "encode s", "decode s")}
        for setting in settings
        for row in found["rows"]
        if (row["codec"], row["setting"]) == (setting.codec, setting.name)
    ]


def means(rows):
    """The mean over the images for each mode, quality and effort among `our_rows`; None where one has no number."""
    groups = {}
    for row in rows:
        groups.setdefault((row["mode"], row["quality"], row["effort"]), []).append(row)
    return [
        {"mode": mode, "quality": quality, "effort": effort, "images": len(group)}
        | {key: results.mean([row[key] for row in group]) for key in list(group[0])[4:]}
        for (mode, quality, effort), group in groups.items()
    ]


def text(row):
    """A row with its numbers in their usual digits, "-" where there is none."""
    digits = {"quality": "g", "bytes": ".0f", "bpp": ".4f", "MS-SSIM": ".4f", "LPIPS": ".4f"}
    return {
        key: "-"
        if value is None
        else format(value, digits.get(key, ".2f"))
        if isinstance(value, float)
        else value
        for key, value in row.items()
    }


def bd_rates(found):
    """The BD-rates among the results, in percent: a row for each image, and the mean."""
    rows = {}
    for pair in found["bd_rate"]:
        for name, percent in (pair["images"] | {"mean": pair["mean"]}).items():
            row = rows.setdefault((pair["codec"], name), {"image": name, "mode": pair["codec"]})
            row[pair["against"]] = "-" if percent is None else f"{percent:+.1f}"
    return list(rows.values())


def show(rows):
    """Print dicts of the same keys as a table, names to the left and numbers to the right."""
    rows = [text(row) for row in rows]
    widths = {key: max(len(key), *(len(str(row[key])) for row in rows)) for key in rows[0]}
    for line in [dict(zip(widths, widths)), *rows]:
        print(
            "  ".join(
                str(line[key]).ljust(width) if key in ("image", "mode") else str(line[key]).rjust(width)
                for key, width in widths.items()
            )
        )
