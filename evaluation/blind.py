"""The page of `evaluate.py --blind`, from `blind.html`: which of two files of equal bytes is nearer to the
original, asked without their names.

JPEG, WebP and AVIF are in it as the very files that were measured; the original, ours and what else browsers
cannot read as lossless WebP.
"""

import logging

from coding.errors import UserError
from evaluation import pages

MOST_APART = 0.1  # of the bytes of our file

logger = logging.getLogger(__name__)


def write(measured: list, folder: str):
    """Write index.html.

    measured: measure.Measured of each image, with its pictures
    folder: where to

    Logs which files are left out, since theirs are not about the bytes of ours or cannot be shown. Raises
    UserError if none is left.
    """
    pages.write("blind.html", _data(measured), folder)


def _data(measured):
    """A dict of ours and rivals (names of codecs), trials, and the pictures that trials name by number."""
    data = {"ours": [], "rivals": [], "trials": [], "pictures": []}
    for one in measured:
        data["pictures"].append(pages.uri("image/webp", one.original))
        original = len(data["pictures"]) - 1
        for shown in one.shown:
            _add(data, one, shown, original)
    if not data["trials"]:
        raise UserError(f"no other codec has a file within {MOST_APART:.0%} of the bytes of ours")
    data["ours"], data["rivals"] = (
        list(dict.fromkeys(trial[which] for trial in data["trials"])) for which in ("ours", "rival")
    )
    return data


def _add(data, one, shown, original):
    """Add the trials of a measure.Shown, and their pictures."""
    (ours, decoded), *others = shown.files.items()
    about = f"{one.name}, {shown.label}"
    size, sizes = _sizes(one.rows, shown.label)
    data["pictures"].append(pages.uri("image/webp", decoded))
    place = len(data["pictures"]) - 1
    for rival, file in others:
        apart = sizes[rival] / size - 1
        if abs(apart) > MOST_APART:
            logger.warning("%s: without %s, %+.1f %% of bytes at the nearest", about, rival, 100 * apart)
            continue
        try:
            data["pictures"].append(pages.picture(file))
        except OSError as error:
            logger.warning("%s: without %s, which cannot be shown (%s)", about, rival, error)
            continue
        names = {"image": one.name, "setting": shown.label, "ours": ours, "rival": rival}
        data["trials"].append(names | {"pictures": [original, place, len(data["pictures"]) - 1]})


def _sizes(rows, label):
    """Bytes of our file of a trial, and of the others that were made to be as large, by codec."""
    (ours,) = {
        row["bytes"]
        for row in rows
        if row["same bytes as"] is None and f"{row['codec']}, {row['setting']}" == label
    }
    return ours, {row["codec"]: row["bytes"] for row in rows if row["same bytes as"] == label}
