"""The page of evaluate.py --report, in a real browser where there is one."""

import json
import math
import os
import re

import browser
import pytest
from calls import call
from PIL import Image

from conftest import ROOT
from evaluation import results

LENA = os.path.join(ROOT, "resources/test_images/lena.png")
CODECS = ["original", "JPEG", "WebP", "AVIF (tune=iq)", "variable"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A report on two images, the second of them gray, whose sides are no multiples of 16."""
    images, folder = tmp_path_factory.mktemp("images"), tmp_path_factory.mktemp("report")
    Image.open(LENA).crop((200, 200, 380, 390)).save(images / "a.png")
    Image.open(LENA).crop((200, 200, 300, 270)).convert("L").save(images / "b.png")
    options = "--modes hard variable --qualities 1 3 5 7 --against jpeg webp avif".split()
    assert call("evaluate.py", images, *options, "--report", folder).returncode == 0
    return folder


@pytest.fixture(scope="module")
def found(folder):
    return json.loads((folder / "results.json").read_text())


@pytest.fixture
def page(driver, folder):
    """The page as it opens, 1400 pixels wide and light; its console must stay empty."""
    browser.show(driver, (folder / "index.html").as_uri())
    yield driver
    assert driver.get_log("browser") == []


def split(page):
    """Percent of the width that shows the left picture: where the right one is clipped, and the handle is."""
    clip, handle = page.execute_script(
        "return [getComputedStyle(document.getElementById('over')).clipPath,"
        "        document.getElementById('handle').style.left]"
    )
    percent = float(handle.rstrip("%"))
    assert float(re.search(r"([\d.]+)(%|px)\)$", clip)[1]) == pytest.approx(percent, abs=0.01)
    assert page.find_element("id", "handle").get_attribute("aria-valuenow") == str(round(percent))
    return percent


def number(page, side, key):
    return page.find_element("id", f"{side}-{key}").text


def choose(page, side, codec):
    page.find_element("css selector", f"#{side}-card option[value='{codec}']").click()


def press(page, *keys):
    from selenium.webdriver.common.keys import Keys

    page.find_element("id", "handle").send_keys(*(getattr(Keys, key) for key in keys))


def test_the_page_needs_nothing_else(folder, found):
    text = (folder / "index.html").read_text()
    assert sorted(os.listdir(folder)) == ["bd_rates.csv", "index.html", "results.csv", "results.json"]
    assert set(re.findall(r"https?://[^\"'<> ]+", text)) <= {"http://www.w3.org/2000/svg"}
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])
    assert data["rows"] == found["rows"] and data["bd_rate"] == results.over_all(found)
    for image, (width, height) in zip(data["images"], [(180, 190), (100, 70)]):
        assert [level["setting"] for level in image["shown"]] == [
            f"variable, quality {quality}" for quality in (3, 5, 7)
        ]
        for level in image["shown"]:
            assert list(level["files"]) == ["variable", "JPEG", "WebP", "AVIF (tune=iq)"]
            assert (len(level["bits"]), len(level["bits"][0])) == (-(-height // 16), -(-width // 16))


def test_the_slider_moves(page):
    from selenium.webdriver import ActionChains

    assert split(page) == 50
    handle, width = page.find_element("id", "handle"), page.find_element("id", "viewer").size["width"]
    ActionChains(page).click_and_hold(handle).move_by_offset(width // 4, 30).release().perform()
    assert split(page) == pytest.approx(75, abs=1)
    ActionChains(page).click_and_hold(handle).move_by_offset(-(3 * width // 4) - 60, 0).release().perform()
    assert split(page) == 0
    ActionChains(page).move_to_element_with_offset(
        page.find_element("id", "viewer"), width // 10, 50
    ).click().perform()
    assert split(page) == pytest.approx(60, abs=1)
    press(page, "ARROW_RIGHT")
    assert split(page) == pytest.approx(62, abs=1)
    press(page, "END")
    assert split(page) == 100


def test_the_numbers_are_those_of_the_results(page, found):
    for image in range(2):
        page.find_elements("css selector", "#thumbs button")[image].click()
        for level, setting in enumerate(["quality 3", "quality 5", "quality 7"]):
            page.find_elements("css selector", "#levels button")[level].click()
            for side, codec in [
                ("left", "WebP"),
                ("right", "JPEG"),
                ("left", "variable"),
                ("right", "AVIF (tune=iq)"),
            ]:
                choose(page, side, codec)
                (row,) = [
                    row
                    for row in found["rows"]
                    if row["codec"] == codec
                    and row["image"] == found["images"][image]["name"]
                    and (
                        row["setting"] == setting
                        if codec == "variable"
                        else row["same bytes as"] == f"variable, {setting}"
                    )
                ]
                assert number(page, side, "bytes").replace(",", "") == str(row["bytes"])
                assert float(number(page, side, "bpp")) == pytest.approx(row["bpp"], abs=0.0006)
                assert float(number(page, side, "PSNR")) == pytest.approx(row["PSNR"], abs=0.006)
                if row["MS-SSIM"] is not None:
                    assert float(number(page, side, "MS-SSIM")) == pytest.approx(row["MS-SSIM"], abs=0.00006)


def test_the_pictures_are_those_that_were_measured(page, found):
    sizes = {(0, codec): (180, 190) for codec in CODECS} | {(1, codec): (100, 70) for codec in CODECS}
    for (image, codec), size in sizes.items():
        page.find_elements("css selector", "#thumbs button")[image].click()
        choose(page, "left", codec)
        choose(page, "right", "original")
        width, height, mse = page.execute_async_script("""
            const done = arguments[0], sides = ["left", "right"].map(side => document.getElementById(side));
            Promise.all(sides.map(side => side.decode())).then(() => {
              const [a, b] = sides.map(side => {
                const canvas = document.createElement("canvas");
                [canvas.width, canvas.height] = [side.naturalWidth, side.naturalHeight];
                canvas.getContext("2d").drawImage(side, 0, 0);
                return canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
              });
              let sum = 0;
              a.forEach((value, index) => { sum += (value - b[index]) ** 2; });
              done([sides[0].naturalWidth, sides[0].naturalHeight, sum / (a.length * 3 / 4)]);
            });""")
        assert (width, height) == size
        if codec == "original":
            assert mse == 0
        else:  # a browser may convert colours a little differently
            assert 10 * math.log10(255**2 / mse) == pytest.approx(
                float(number(page, "left", "PSNR")), abs=0.3
            )


def test_zoom_keeps_the_place_and_a_drag_moves_the_picture(page):
    from selenium.webdriver import ActionChains

    def transform():
        return page.execute_script(
            "const m = new DOMMatrix(getComputedStyle(document.getElementById('right')).transform);"
            "return [m.a, m.e, m.f]"
        )

    viewer = page.find_element("id", "viewer")
    assert transform() == [1, 0, 0] and page.find_element("id", "zoom").text == "100 %"
    ActionChains(page).move_to_element_with_offset(viewer, 100, -80).double_click().perform()
    scale, x, y = transform()
    width, height = viewer.size["width"], viewer.size["height"]
    assert (
        scale == 4
        and x == pytest.approx(-3 * (width / 2 + 100), abs=4)
        and y == pytest.approx(-3 * (height / 2 - 80), abs=4)
    )
    before = split(page)
    ActionChains(page).move_to_element_with_offset(viewer, 150, 100).click_and_hold().move_by_offset(
        -40, 25
    ).release().perform()
    assert (
        transform() == [4, pytest.approx(x - 40, abs=1), pytest.approx(y + 25, abs=1)]
        and split(page) == before
    )
    ActionChains(page).move_to_element_with_offset(viewer, 150, 100).click_and_hold().move_by_offset(
        150, 60
    ).release().perform()
    page.find_element("id", "out").click()
    assert page.find_element("id", "zoom").text == "200 %"
    page.find_element("id", "fit").click()
    assert transform() == [1, 0, 0]


def test_the_heat_map_reads_the_bits(page, folder):
    from selenium.webdriver import ActionChains

    data = json.loads(re.search(r'id="data">(.*?)</script>', (folder / "index.html").read_text(), re.S)[1])
    bits = data["images"][0]["shown"][0]["bits"]
    canvas = page.find_element("id", "heat")
    page.execute_script("arguments[0].scrollIntoView({ block: 'center' })", canvas)
    ActionChains(page).move_to_element_with_offset(canvas, 1, 1).perform()
    assert page.find_element("id", "here").text.startswith(
        f"{bits[len(bits) // 2][len(bits[0]) // 2]} bits here"
    )
    assert page.find_element("id", "most").text == f"{max(map(max, bits))} bits"
    share = int(re.search(r"to (\d+) %", page.find_element("id", "fact").text)[1])
    assert 5 < share < 50


def test_the_chart_tells_a_point_and_hides_a_codec(page, found):
    from selenium.webdriver import ActionChains

    chart = page.find_element("css selector", "#chart svg")
    page.execute_script("arguments[0].scrollIntoView({ block: 'center' })", chart)
    assert len(chart.find_elements("css selector", "polyline")) == 5
    [
        option
        for option in page.find_elements("css selector", "#chart-tools option")
        if option.text == "a.png"
    ][0].click()
    circle = page.find_elements("css selector", "#chart circle[fill='#e11d48']")[1]
    ActionChains(page).move_to_element(circle).perform()
    row = next(
        row
        for row in found["rows"]
        if (row["image"], row["codec"], row["setting"]) == ("a.png", "variable", "quality 3")
    )
    assert (
        page.find_element("css selector", "#chart .tip").text
        == f"AutoCompressor\n{row['bpp']:.3f} bpp, {row['PSNR']:.2f} dB"
    )
    [button for button in page.find_elements("css selector", "#legend button") if button.text == "WebP"][
        0
    ].click()
    assert len(page.find_elements("css selector", "#chart polyline")) == 4
    page.find_elements("css selector", "#chart-tools button")[1].click()
    assert "MS-SSIM" in page.find_element("css selector", "#chart svg").get_attribute("aria-label")


def test_the_table_sorts(page, found):
    def column(index):
        return [
            row.find_elements("css selector", "td")[index].text
            for row in page.find_elements("css selector", "#table tbody tr")
        ]

    psnr = sorted(
        {(row["image"], row["codec"], row["setting"]): row["PSNR"] for row in found["rows"]}.values()
    )
    [
        option
        for option in page.find_elements("css selector", "#table-tools option")
        if option.text == "b.png"
    ][0].click()
    assert set(column(0)) == {"b.png"}
    page.find_element("css selector", "#table-tools option").click()
    for expected in psnr, psnr[::-1]:
        page.find_elements("css selector", "#table th button")[5].click()
        assert [float(text) for text in column(5)] == pytest.approx(expected, abs=0.006)
    page.find_elements("css selector", "#table th button")[1].click()
    assert column(1) == sorted(column(1), key=str.lower)


def bd_rates(page):
    shown = [cell.text for cell in page.find_elements("css selector", "#bd tr.mean td")][1:]
    return [float(text.replace("−", "-").rstrip(" %")) for text in shown]


def means(found, metric):
    return [pair["mean"] for pair in results.over_all(found) if pair["metric"] == metric]


def test_bd_rates_are_shown_with_their_signs(page, found):
    shown = bd_rates(page)
    assert shown == pytest.approx(means(found, "PSNR"), abs=0.06)
    [
        button
        for button in page.find_elements("css selector", "#bd-tools button")
        if button.text == "SSIMULACRA2"
    ][0].click()
    assert bd_rates(page) == pytest.approx(means(found, "SSIMULACRA2"), abs=0.06) != shown


@pytest.mark.parametrize("scheme, dark", [("light", False), ("dark", True)])
@pytest.mark.parametrize("width", [400, 1400])
def test_it_fits_phone_and_desktop_in_both_schemes(driver, folder, width, scheme, dark):
    browser.show(driver, (folder / "index.html").as_uri(), width, scheme)
    assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    ground, ink = (
        [int(value) for value in re.findall(r"\d+", colour)][:3]
        for colour in (
            driver.find_element("css selector", "body").value_of_css_property("background-color"),
            driver.find_element("css selector", "h1").value_of_css_property("color"),
        )
    )
    assert (max(ground) < 60 and min(ink) > 200) if dark else (min(ground) > 200 and max(ink) < 60)
    for side in "left", "right":
        card = driver.find_element("id", f"{side}-card")
        assert driver.execute_script("return arguments[0].scrollWidth <= arguments[0].clientWidth", card)
    assert driver.get_log("browser") == []
