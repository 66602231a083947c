"""The page of evaluate.py --blind, in a real browser where there is one."""

import base64
import io
import json
import os
import re
import time

import browser
import numpy as np
import pytest
from calls import call
from PIL import Image

from conftest import ROOT
from evaluation import results

LENA = os.path.join(ROOT, "resources/test_images/lena.png")
KEYS = {"left": "ARROW_LEFT", "same": "ARROW_DOWN", "right": "ARROW_RIGHT"}
ELO = 1500


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A blind test of one image, and the results of the same run; its lowest quality is too low for some."""
    images, folder, out = (tmp_path_factory.mktemp(name) for name in ("images", "blind", "out"))
    Image.open(LENA).crop((200, 200, 380, 390)).save(images / "a.png")
    options = "--modes variable --qualities 1 5 7 --against jpeg avif jpeg2000".split()
    result = call("evaluate.py", images, *options, "--output", out, "--blind", folder)
    assert result.returncode == 0, result.stderr
    return folder, out


@pytest.fixture(scope="module")
def data(folders):
    text = (folders[0] / "index.html").read_text()
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])


@pytest.fixture
def visit(driver, folders):
    """Open the page with a seed, ready to be clicked at; its console must stay empty."""

    def visit(seed):
        browser.show(driver, f"{(folders[0] / 'index.html').as_uri()}?seed={seed}")
        wait(driver)
        return driver

    yield visit
    assert driver.get_log("browser") == []


def wait(page):
    """Until the pictures of the next trial are there, or none is left."""
    until(lambda: page.find_elements("css selector", "#panes[aria-busy=false], #test[hidden]"))


def until(is_so):
    end = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def press(page, key):
    from selenium.webdriver.common.keys import Keys

    page.find_element("css selector", "body").send_keys(getattr(Keys, key, key))
    wait(page)


def press_button(page, choice):
    page.find_element("css selector", f"[data-choice={choice}]").click()
    wait(page)


def progress(page):
    return page.find_element("id", "progress").text


def saved(page, folder):
    """What the page saves now."""
    page.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
    page.find_element("id", "save").click()
    path = folder / f"blind-{page.find_element('id', 'seed').text}.json"
    until(path.exists)
    kept = json.loads(path.read_text())
    path.unlink()
    return kept


def load(page, path, content):
    """Give the page a saved file; returns what it says."""
    path.write_text(json.dumps(content))
    message = page.find_element("id", "message")
    page.execute_script("arguments[0].textContent = ''", message)
    page.find_element("id", "load").send_keys(str(path))
    until(lambda: message.text)
    return message.text


def pixels(file):
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB")).astype(int)


def decoded(address):
    return pixels(base64.b64decode(address.partition(",")[2]))


def drawn(page, side):
    """The pixels of a side."""
    return decoded(page.execute_script(f"return document.getElementById('{side}').toDataURL()"))


def on_screen(page, side):
    return pixels(page.find_element("xpath", f"//*[@id='{side}']/..").screenshot_as_png)


def what_is_shown(page, data):
    """(setting, codec on the left, codec on the right), told by the pixels."""
    near = []
    for side in "left", "right":
        shown = drawn(page, side)
        distances = {
            (trial["setting"], trial[which]): np.abs(decoded(data["pictures"][number]) - shown).mean()
            for trial in data["trials"]
            for which, number in zip(("ours", "rival"), trial["pictures"][1:])
        }
        near.append(min(distances, key=distances.get))
    (setting, left), (of_right, right) = near
    assert setting == of_right
    return setting, left, right


def assert_names_nothing(page, data):
    text = page.execute_script("return document.documentElement.outerHTML + document.title").lower()
    for word in [*data["ours"], *data["rivals"], "jpeg", "webp", "avif", "jp2", "image/", "blob:", "a.png"]:
        assert word.lower() not in text, word


def table(page, name):
    rows = page.find_elements("css selector", f"#{name} tbody tr")
    return [[cell.text for cell in row.find_elements("css selector", "td")] for row in rows]


def wilson(share, count):
    """The shares p from which the measured one is 1.96 standard deviations away."""
    z = 1.959964**2 / count  # (share - p)^2 = z p (1 - p)
    return sorted(np.roots([1 + z, -2 * share - z, share**2]).real)


def elos(games, names):
    """By Newton's method; games: (one, other, score of one), names: the first of them has ELO."""
    strengths = np.zeros(len(names) + 1)  # logarithms; the last is the codec that each has a draw with
    games = [(names.index(one), names.index(other), score) for one, other, score in games]
    games += [(index, len(names), 0.5) for index in range(len(names))]
    for _ in range(100):
        gradient, curvature = np.zeros(len(strengths)), np.zeros((len(strengths),) * 2)
        for one, other, score in games:
            chance = 1 / (1 + np.exp(strengths[other] - strengths[one]))
            gradient[[one, other]] += score - chance, chance - score
            part = chance * (1 - chance)
            curvature[np.ix_([one, other], [one, other])] += part * np.array([[1, -1], [-1, 1]])
        strengths[:-1] += np.linalg.solve(curvature[:-1, :-1], gradient[:-1])
    return {name: ELO + 400 * (strengths[names.index(name)] - strengths[0]) / np.log(10) for name in names}


def test_the_trials_are_all_pairs_of_about_equal_bytes(folders, data):
    assert os.listdir(folders[0]) == ["index.html"]
    assert "http" not in (folders[0] / "index.html").read_text()
    rows = results.read(folders[1])["rows"]
    sizes = {f"{row['codec']}, {row['setting']}": row["bytes"] for row in rows if not row["same bytes as"]}
    near = {
        (row["image"], row["same bytes as"], "variable", row["codec"])
        for row in rows
        if row["same bytes as"] and abs(row["bytes"] / sizes[row["same bytes as"]] - 1) <= 0.1
    }
    trials = [(trial["image"], trial["setting"], trial["ours"], trial["rival"]) for trial in data["trials"]]
    assert set(trials) == near and len(trials) == len(near) == 7
    assert data["ours"] == ["variable"] and set(data["rivals"]) == {"JPEG", "AVIF (tune=iq)", "JPEG 2000"}


def test_the_pictures_are_the_measured_files(folders, data):
    rows = results.read(folders[1])["rows"]
    original = np.asarray(Image.open(LENA).crop((200, 200, 380, 390)).convert("RGB")).astype(int)
    kinds = {
        "JPEG": "image/jpeg",
        "AVIF (tune=iq)": "image/avif",
        "JPEG 2000": "image/webp",
        "variable": "image/webp",
    }
    for trial in data["trials"]:
        addresses = [data["pictures"][number] for number in trial["pictures"]]
        assert (decoded(addresses[0]) == original).all()
        for codec, address in zip((trial["ours"], trial["rival"]), addresses[1:]):
            assert address.startswith(f"data:{kinds[codec]};base64,")
            label = lambda row: row["same bytes as"] or f"{row['codec']}, {row['setting']}"  # noqa: E731
            row = next(row for row in rows if (row["codec"], label(row)) == (codec, trial["setting"]))
            psnr = 10 * np.log10(255**2 / np.mean((decoded(address) - original) ** 2))
            assert psnr == pytest.approx(row["PSNR"], abs=0.001)


def test_a_session_records_true_codecs_and_names_none_before_its_results(visit, data, tmp_path):
    page = visit(11)
    clicked = []
    for number, choice in enumerate(["left", "right", "same", "left", "left", "same", "right"]):
        assert progress(page) == f"Trial {number + 1} of 7"
        assert_names_nothing(page, data)
        clicked.append((*what_is_shown(page, data), choice))
        if number % 2:
            press_button(page, choice)
        else:
            press(page, KEYS[choice])
    assert progress(page) == "All 7 trials are done"
    kept = saved(page, tmp_path)
    (session,) = kept["sessions"]
    assert kept["seed"] == session["seed"] == 11
    found = [
        tuple(click[key] for key in ("setting", "left", "right", "choice")) for click in session["clicks"]
    ]
    assert found == clicked and len(set(clicked)) == 7
    (total,) = [row for row in kept["preferences"] if row["against"] is None]
    wins = sum(
        0.5 if choice == "same" else (left == "variable") == (choice == "left")
        for _, left, _, choice in clicked
    )
    assert (total["clicks"], total["share"]) == (7, pytest.approx(wins / 7))
    press(page, "ARROW_LEFT")  # nothing is left to choose
    assert saved(page, tmp_path) == kept


def test_results_so_far_go_away_again(visit, data, tmp_path):
    page = visit(5)
    press(page, "ARROW_LEFT")
    before = what_is_shown(page, data)
    page.find_element("id", "show").click()
    assert table(page, "preferences")[-1][1::3] == ["all", "1"]
    assert not page.find_element("id", "test").is_displayed()
    press(page, "ARROW_LEFT")  # what cannot be seen cannot be chosen
    page.find_element("id", "show").click()
    assert what_is_shown(page, data) == before and progress(page) == "Trial 2 of 7"
    assert_names_nothing(page, data)


def test_intervals_and_elo_are_right(visit, data, tmp_path):
    """Four viewers, who always find ours nearer than JPEG, and often farther than AVIF."""
    sessions, games = [], []
    for seed in range(4):
        clicks = []
        for number, trial in enumerate(data["trials"]):
            scores = {"JPEG": [1], "AVIF (tune=iq)": [0, 0.5, 0], "JPEG 2000": [1, 1, 0.5, 0]}[trial["rival"]]
            score = scores[(number + seed) % len(scores)]
            is_left = (number + seed) % 2 == 0
            sides = ("ours", "rival") if is_left else ("rival", "ours")
            choice = "same" if score == 0.5 else "left" if (score == 1) == is_left else "right"
            clicks.append({key: trial[key] for key in ("image", "setting")} | {"choice": choice})
            clicks[-1] |= {"left": trial[sides[0]], "right": trial[sides[1]]}
            games.append((trial["ours"], trial["rival"], score))
        sessions.append({"seed": seed, "clicks": clicks})
    page = visit(99)
    for part in sessions[:2], sessions[1:]:  # viewer 1 is in both files, and counts once
        assert load(page, tmp_path / "clicks.json", {"sessions": part}) == "clicks.json is added"
    assert_names_nothing(page, data)
    kept = saved(page, tmp_path)
    assert {session["seed"]: len(session["clicks"]) for session in kept["sessions"]} == {
        99: 0
    } | dict.fromkeys(range(4), 7)

    page.find_element("id", "show").click()
    assert [row["against"] for row in kept["preferences"]] == [*data["rivals"], None]
    for row, cells in zip(kept["preferences"], table(page, "preferences")):
        scores = [score for _, rival, score in games if row["against"] in (rival, None)]
        share = np.mean(scores)
        assert (row["clicks"], row["share"]) == (len(scores), pytest.approx(share))
        assert row["interval"] == pytest.approx(wilson(share, len(scores)), abs=1e-9)
        low, high = (f"{100 * end:.1f} %" for end in wilson(share, len(scores)))
        assert cells == [
            "AutoCompressor (variable)",
            row["against"] or "all",
            f"{100 * share:.1f} %",
            f"{low} to {high}",
            str(len(scores)),
        ]
    expected = elos(games, ["variable", *data["rivals"]])
    assert kept["elo"] == pytest.approx(expected, abs=0.001) and kept["elo"]["variable"] == ELO
    assert expected["AVIF (tune=iq)"] > ELO > expected["JPEG 2000"] > expected["JPEG"] > 0
    ranks = [
        (name.replace("AutoCompressor (variable)", "variable"), float(elo))
        for name, elo in table(page, "elo")
    ]
    assert ranks == [
        (name, pytest.approx(expected[name], abs=0.5))
        for name in sorted(expected, key=lambda name: -expected[name])
    ]


def test_a_session_goes_on_from_its_file_and_strange_files_are_refused(visit, data, tmp_path):
    page = visit(3)
    press(page, "ARROW_LEFT")
    press(page, "ARROW_DOWN")
    upcoming, kept = what_is_shown(page, data), saved(page, tmp_path)
    page = visit(3)
    strange = json.loads(json.dumps(kept))
    strange["sessions"][0]["clicks"][0]["left"] = "GIF"
    for content in strange, {}, [], {"sessions": [{"seed": 1, "clicks": [None]}]}:
        assert load(page, tmp_path / "strange.json", content) == "strange.json has no clicks of this page"
    assert progress(page) == "Trial 1 of 7"
    load(page, tmp_path / "good.json", kept)
    wait(page)
    assert progress(page) == "Trial 3 of 7" and what_is_shown(page, data) == upcoming
    assert saved(page, tmp_path) == kept


def test_order_and_sides_come_from_the_seed(visit, tmp_path):
    def session(seed):
        page = visit(seed)
        for _ in range(7):
            press(page, "ARROW_DOWN")
        return [
            (click["setting"], click["left"], click["right"])
            for click in saved(page, tmp_path)["sessions"][0]["clicks"]
        ]

    one, again, other = session(1), session(1), session(2)
    assert one == again
    pairs = [[(setting, *sorted(codecs)) for setting, *codecs in clicks] for clicks in (one, other)]
    assert sorted(pairs[0]) == sorted(pairs[1]) and pairs[0] != pairs[1]
    assert set(one) != set(other)
    for clicks in one, other:
        assert {"variable" in left for _, left, _ in clicks} == {True, False}


def test_a_pixel_is_a_pixel_and_keys_show_one_alone_and_zoom(visit):
    page = visit(8)

    def seen():
        return [
            side for side in ("left", "original", "right") if page.find_element("id", side).is_displayed()
        ]

    assert seen() == ["left", "original", "right"]
    for side in seen():
        assert (on_screen(page, side) == drawn(page, side)).all()
    for key, side in ("1", "left"), ("2", "original"), ("3", "right"):
        press(page, key)
        assert seen() == [side]
        assert (on_screen(page, side) == drawn(page, side)).all()
    press(page, "z")
    twice = drawn(page, "right").repeat(2, 0).repeat(2, 1)
    assert (on_screen(page, "right") == twice).all()
    press(page, "z")
    press(page, "f")
    assert seen() == ["left", "original", "right"] and progress(page) == "Trial 1 of 7"
    assert page.find_element("id", "original").size == {"width": 180, "height": 190}


def test_a_drag_moves_all_three(visit):
    from selenium.webdriver import ActionChains

    page = visit(8)
    browser.resize(page, 400)
    press(page, "z")

    def places():
        """How far each picture begins to the left of its pane."""
        script = "return [...document.querySelectorAll('canvas')].map(canvas => canvas.parentNode"
        script += ".getBoundingClientRect().left - canvas.getBoundingClientRect().left)"
        return page.execute_script(script)

    before, pane = places(), page.find_elements("css selector", ".pane")[2]
    ActionChains(page).click_and_hold(pane).move_by_offset(-30, 0).release().perform()
    assert places() == pytest.approx([x + 30 for x in before], abs=1) and before[0] > 30
    for _ in range(4):  # not beyond the edge
        ActionChains(page).click_and_hold(pane).move_by_offset(60, 0).release().perform()
    assert places() == pytest.approx([0, 0, 0], abs=1)


def test_evaluate_writes_it_and_says_what_is_left_out(tmp_path, script):
    Image.open(LENA).crop((200, 200, 296, 264)).convert("L").save(tmp_path / "b.png")
    options = "--modes variable --qualities 1 9 --against jpeg webp".split()
    result = script("evaluate.py", tmp_path / "b.png", *options, "--blind", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert re.search(
        r"^b.png, variable, quality 1: without JPEG, \+[\d.]+ % of bytes at the nearest$", result.stderr, re.M
    )
    text = (tmp_path / "out/index.html").read_text()
    assert '"image":"b.png","setting":"variable, quality 9","ours":"variable","rival":"WebP"' in text


def test_nothing_to_compare_with_is_an_error(tmp_path):
    Image.open(LENA).crop((200, 200, 248, 232)).save(tmp_path / "c.png")
    options = ["--modes", "variable", "--qualities", "1", "--blind", tmp_path / "out", "--against"]
    for against, message in ([], "needs a codec"), (["jpeg"], "no other codec has a file within 10%"):
        result = call("evaluate.py", tmp_path / "c.png", *options, *against)
        assert result.returncode == 1 and message in result.stderr.splitlines()[-1]
        assert "Traceback" not in result.stderr and not os.listdir(tmp_path / "out")
    result = call("evaluate.py", tmp_path / "c.png", *options[:4], "--blind", tmp_path, "--report", tmp_path)
    assert result.returncode == 2
