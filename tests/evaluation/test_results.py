"""What is computed from rows, and charts of it."""

import csv
import math

import numpy as np
import pytest
from PIL import Image

from coding.errors import UserError
from evaluation import charts, measure, metrics, results, tables


def row(image, codec, setting, bpp, psnr, ms_ssim=0.9, same=None, **more):
    return {
        "image": image,
        "codec": codec,
        "setting": setting,
        "same bytes as": same,
        "bytes": round(1000 * bpp),
        "bpp": bpp,
        "PSNR": psnr,
        "MS-SSIM": ms_ssim,
        "SSIMULACRA2": None,
        "Butteraugli": None,
        "LPIPS": None,
        "encode s": 0.1,
        "decode s": 0.2,
    } | more


@pytest.fixture
def found():
    """Two images: ours needs half of JPEG's bytes for the first and as many for the second."""
    rows = []
    for image, share in ("a.png", 0.5), ("b.png", 1.0):
        for quality in 1, 2, 3, 4, 5:
            bpp = 0.1 * 2**quality
            rows.append(row(image, "JPEG", f"quality {quality}", bpp, 20 + 3.0 * quality))
            rows.append(
                row(
                    image,
                    "variable",
                    f"quality {quality}",
                    bpp * share,
                    20 + 3.0 * quality,
                    **{"JPEG PSNR": 21.5},
                )
            )
            rows.append(
                row(image, "JPEG", "quality 2, 4:2:0", bpp * share, 22.0, same=f"variable, quality {quality}")
            )
        rows.append(row(image, "hard", "B=2", 0.2, 25.0))
    images = [{"name": name, "width": 10, "height": 10} for name in ("a.png", "b.png")]
    found = {"images": images, "ours": ["variable", "hard"], "versions": {"pillow": "12"}, "rows": rows}
    return found | {"bd_rate": results.bd_rates(found)}


def test_bd_rates_are_of_each_image_and_their_mean(found):
    (pair,) = found["bd_rate"]
    assert (pair["metric"], pair["codec"], pair["against"]) == ("PSNR", "variable", "JPEG")
    assert pair["images"] == {"a.png": pytest.approx(-50), "b.png": pytest.approx(0, abs=1e-9)}
    assert [pair["mean"], pair["mean curve"]] == pytest.approx([-25, -25])
    lines = [(line["image"], line["JPEG"]) for line in tables.bd_rates(found)]
    assert lines == [("a.png", "-50.0"), ("b.png", "+0.0"), ("mean", "-25.0"), ("mean curve", "-25.0")]


def test_the_mean_curve_is_not_the_mean_of_the_images(found):
    for r in found["rows"]:
        if r["image"] == "b.png":
            r["bpp"] *= 9  # it has nearly all of the bits
    (pair,) = results.bd_rates(found)
    assert pair["mean"] == pytest.approx(-25) and pair["mean curve"] == pytest.approx(-5)


def test_bd_rates_are_by_each_metric_that_is_known(found):
    """JPEG also has files of half the bytes, which are worse by PSNR, and as good by Butteraugli."""
    for r in list(found["rows"]):
        if r["codec"] != "hard" and r["same bytes as"] is None:
            r["Butteraugli"] = 40 - r["PSNR"]  # lower is better
            r["MS-SSIM"] = 1 - 10 ** (-r["PSNR"] / 10)
            if r["codec"] == "JPEG" and r["setting"] != "quality 1":
                worse = {"setting": f"{r['setting']}, other", "PSNR": 1.0, "MS-SSIM": 0.1}
                found["rows"].append(r | worse | {"bpp": r["bpp"] / 2})
    rates = {pair["metric"]: pair["images"]["a.png"] for pair in results.bd_rates(found)}
    assert rates == {
        "PSNR": pytest.approx(-50),
        "MS-SSIM": pytest.approx(-50),
        "Butteraugli": pytest.approx(0, abs=1e-9),
    }
    found["bd_rate"] = results.bd_rates(found)
    assert [line["JPEG"] for line in tables.bd_rates(found, "Butteraugli")][0] in ("+0.0", "-0.0")
    assert tables.bd_rates(found, "SSIMULACRA2") == []


@pytest.fixture
def scored():
    """Two images, of which ours needs nine tenths of JPEG's bytes; for the second it has no good files."""
    rows = []
    for image, scores in ("a.png", range(20, 91, 10)), ("b.png", range(20, 71, 10)):
        for codec, share, its_scores in ("JPEG", 1.0, range(20, 91, 10)), ("variable", 0.9, scores):
            for score in its_scores:
                known = {"SSIMULACRA2": float(score), "Butteraugli": 3 - 0.03 * score, "MS-SSIM": None}
                bpp, psnr = share * 0.1 * 1.5 ** (score / 10), 20 + score / 5
                rows.append(row(image, codec, f"quality {score}", bpp, psnr, **known))
    images = [{"name": name, "width": 10, "height": 10} for name in ("a.png", "b.png")]
    found = {"images": images, "ours": ["variable"], "versions": {}, "rows": rows}
    return found | {"bd_rate": results.bd_rates(found)}


def test_ranges_of_a_metric_have_bd_rates_of_the_images_that_reach_them(scored):
    lines = [tuple(line.values()) for line in tables.ranges(scored)]
    assert lines == [
        ("PSNR", "all", "variable", "-10.0"),
        *(("SSIMULACRA2", part, "variable", "-10.0") for part in ("30 to 50", "50 to 65", "65 to 75")),
        ("SSIMULACRA2", "75 to 85", "variable", "-10.0 (1)"),
        ("SSIMULACRA2", "all", "variable", "-10.0"),
        ("Butteraugli", "2 to 1.4", "variable", "-10.0"),
        ("Butteraugli", "1.4 to 1", "variable", "-10.0"),
        ("Butteraugli", "1 to 0.7", "variable", "-10.0 (1)"),
        ("Butteraugli", "all", "variable", "-10.0"),
    ]
    scored["images"].append({"name": "c.png", "width": 10, "height": 10})  # which has no scores
    scored["bd_rate"] = results.bd_rates(scored)
    assert [line["JPEG"] for line in tables.ranges(scored)][3:5] == ["-10.0 (2)", "-10.0 (1)"]


def test_bd_rates_are_written_with_how_many_images_they_are_of(scored, tmp_path):
    results.write(scored, tmp_path)
    lines = list(csv.DictReader(open(tmp_path / "bd_rates.csv")))
    assert len(lines) == len(scored["bd_rate"]) == 10
    assert lines[4] == {
        "metric": "SSIMULACRA2",
        "from": "75",
        "to": "85",
        "codec": "variable",
        "against": "JPEG",
        "mean": "-10.0",
        "mean curve": "",  # the means of all images end at 70
        "images": "1",
        "left out": "1",
    }
    assert (lines[5]["from"], lines[5]["images"]) == ("", "2")


def test_a_table_is_markdown_where_that_is_asked_for(scored):
    table = tables.lines(tables.ranges(scored)[:2], as_markdown=True)
    assert table == [
        "| by | range | mode | JPEG |",
        "| --- | --- | --- | ---: |",
        "| PSNR | all | variable | -10.0 |",
        "| SSIMULACRA2 | 30 to 50 | variable | -10.0 |",
    ]


def test_charts_of_ssimulacra2_give_good_pictures_room(scored):
    scores = np.linspace(-100, 99, 1000)
    heights = charts.bent(scores)
    assert (np.diff(heights) > 0).all() and charts.straight(heights) == pytest.approx(scores)
    assert charts.bent(90) - charts.bent(80) == pytest.approx(charts.bent(80) - charts.bent(60))
    scored["rows"].append(row("a.png", "JPEG", "quality 100", 1.9, 90.0, SSIMULACRA2=100.0))  # no losses
    axes = charts.draw_images(scored, "SSIMULACRA2").axes[0]
    ticks = [axes.transData.transform((0, score))[1] for score in axes.get_yticks()]
    assert list(axes.get_yticks()) == list(charts.SCORES) and ticks == sorted(ticks)
    assert axes.get_ylim() == (19, 100) and np.isfinite(axes.transData.transform((1.9, 100))).all()


def test_a_curve_is_what_no_other_point_and_no_line_is_above(found):
    found["rows"] = [
        row("a.png", "JPEG", str(n), bpp, psnr)
        for n, (bpp, psnr) in enumerate(
            [
                (0.4, 30.0),
                (0.1, 20.0),
                (0.2, 24.0),
                (0.2, 27.0),
                (0.3, 28.0),
                (0.5, 29.0),
                (0.8, 33.0),
                (0.9, math.inf),
            ]
        )
    ]
    assert results.curve(found, "JPEG", "a.png") == [(0.1, 20.0), (0.2, 27.0), (0.4, 30.0), (0.8, 33.0)]
    assert results.curve(found, "WebP", "a.png") == []
    found["rows"] = [row("a.png", "JPEG", "quality 1", 0.1, 20.0, ms_ssim=None)]
    assert results.curve(found, "JPEG", "a.png", "MS-SSIM") == []


def test_a_mean_is_over_all_images_at_one_setting(found):
    assert results.curve(found, "variable")[0] == pytest.approx((0.15, 23.0))
    found["rows"] = [r for r in found["rows"] if (r["image"], r["setting"]) != ("b.png", "quality 1")]
    assert results.curve(found, "variable")[0] == pytest.approx((0.3, 26.0))


def test_results_of_other_codecs_are_taken_over(found):
    def collect(image):
        rows = [row(image, "variable", "quality 1", 0.3, 30.0)]
        return results.collect(
            [measure.Measured(image, 10, 10, rows)], [measure.Trial("variable", 1.0, 0, "eye")], found
        )

    again = collect("b.png")
    jpeg = [r for r in again["rows"] if r["codec"] == "JPEG"]
    assert again["ours"] == ["variable"] and again["versions"] == found["versions"]
    assert [(r["image"], r["setting"]) for r in jpeg] == [("b.png", f"quality {n}") for n in (1, 2, 3, 4, 5)]
    # Its PSNR rises by 3 dB each time that its bytes double from 0.2 bpp, where it is 23 dB.
    assert again["rows"][-1]["JPEG PSNR"] == pytest.approx(23 + 3 * math.log2(1.5), abs=0.001)
    with pytest.raises(UserError, match=r"c\.png"):
        collect("c.png")


def test_a_quality_at_a_rate_is_on_the_curve_and_nowhere_beyond_it():
    curve = [(0.1, 20.0), (0.2, 23.0), (0.4, 26.0)]
    assert [metrics.quality_at(curve, rate) for rate in (0.1, 0.2, 0.4)] == pytest.approx([20, 23, 26])
    assert 23 < metrics.quality_at(curve, 0.3) < 26
    assert metrics.quality_at(curve, 0.09) is metrics.quality_at(curve, 0.41) is None
    assert metrics.quality_at(curve[:1], 0.1) is None


def test_what_is_written_is_read_again(found, tmp_path):
    found["rows"][0]["PSNR"] = math.inf
    results.write(found, tmp_path)
    assert results.read(tmp_path) == found
    lines = list(csv.DictReader(open(tmp_path / "results.csv")))
    assert len(lines) == len(found["rows"])
    assert list(lines[0])[:7] == ["image", "codec", "setting", "same bytes as", "bytes", "bpp", "PSNR"]
    assert [float(line["PSNR"]) for line in lines] == [r["PSNR"] for r in found["rows"]]


def test_a_missing_number_has_no_mean(found):
    trials = [measure.Trial("variable", 1.0, 0, "eye"), measure.Trial("hard", None, 0, "psnr")]
    rows = tables.our_rows(found, trials)
    assert [(r["image"], r["mode"], r["quality"]) for r in rows] == [
        ("a.png", "variable", 1.0),
        ("b.png", "variable", 1.0),
        ("a.png", "hard", None),
        ("b.png", "hard", None),
    ]
    means = [tables.text(mean) for mean in tables.means(rows)]
    assert [(mean["quality"], mean["bpp"], mean["PSNR"], mean["JPEG PSNR"]) for mean in means] == [
        ("1", "0.1500", "23.00", "21.50"),
        ("-", "0.2000", "25.00", "-"),
    ]


def test_charts_are_drawn_of_what_is_known(found, tmp_path):
    for r in found["rows"]:
        r["SSIMULACRA2"] = 3 * r["PSNR"] - 90  # some below 0
    charts.draw(found, tmp_path)
    names = [
        f"{metric}{part}.png" for metric in ("ms_ssim", "psnr", "ssimulacra2") for part in ("", "_images")
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert all(Image.open(path).width > 500 for path in tmp_path.iterdir())


def test_bars_are_the_original_projects(found, tmp_path):
    assert charts.bars(found) == {}
    found["ours"].append("soft")
    for image in "a.png", "b.png":
        found["rows"] += [
            row(image, "soft", "B=10", 0.4, 29.0),
            row(image, "JPEG", "quality 9", 0.19, 23.0, same="hard, B=2"),
            row(image, "JPEG", "quality 11", 0.42, 27.0, same="soft, B=10"),
        ]
    assert {name: [r["PSNR"] for r in rows] for name, rows in charts.bars(found).items()} == {
        "JPG low": [23.0] * 2,
        "JPG high": [27.0] * 2,
        "AE B=2": [25.0] * 2,
        "AE B=10": [29.0] * 2,
    }
    charts.draw(found, tmp_path)
    assert (tmp_path / "bars.png").exists()


def test_published_curves_are_for_kodak_alone(found):
    assert charts.published(found) == []
    found["images"] = [{"name": f"kodim{n:02}.png"} for n in range(24, 0, -1)]
    curves = {curve["codec"]: curve for curve in charts.published(found)}
    assert {"JPEG (4:4:4-like)", "VTM", "cheng2020-anchor"} <= set(curves)
    assert set(charts.DRAWN) <= set(curves)
    found["rows"] = [
        row(image["name"], "JPEG", f"quality {n}", 0.2 * n, 24 + 2.0 * n)
        for image in found["images"]
        for n in range(1, 10)
    ]
    axes = charts.draw_mean(found, "PSNR").axes[0]
    assert {text.get_text() for text in axes.texts} == set(charts.DRAWN)  # each at the end of its curve
    heights = sorted(text.xyann[1] for text in axes.texts)
    assert all(above > below for below, above in zip(heights, heights[1:]))
    for curve in curves.values():
        assert curve["source"] and len(curve["bpp"]) == len(curve["psnr_db"])


def test_the_published_jpeg_is_less_than_the_published_vtm(found):
    found["images"] = [{"name": f"kodim{n:02}.png"} for n in range(1, 25)]
    curves = charts.published_curves(found, "PSNR")
    assert charts.published_curves(found, "SSIMULACRA2") == {}
    assert -75 < metrics.bd_rate(curves["JPEG (4:4:4-like)"], curves["VTM"]) < -55
