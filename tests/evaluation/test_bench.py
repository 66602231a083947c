"""What bench.py measures and says of it; nothing here depends on how fast the machine is."""

import os
import sys

import numpy as np
import pytest

from coding import engine_package, entropy
from conftest import ROOT
from evaluation.bench import chart, codecs, coder, commands, launch, photograph, run, sizes, stages, table


@pytest.fixture(scope="module")
def coded():
    """Symbols, contexts and frequencies of lena in hard mode."""
    integers, contexts, bank = coder.coded("hard")
    return coder.to_symbols(integers, contexts, bank), contexts, bank.frequencies


def code_of(engine, symbols, contexts, frequencies):
    writer = engine.Writer(frequencies)
    writer.write(symbols, contexts)
    return writer.close()


def row(of, megapixels, encode, decode, **others):
    """A row of the codecs, with one run of each."""
    numbers = {"encode seconds": [encode], "decode seconds": [decode], "encode MB": 100.0, "decode MB": 90.0}
    size = {"megapixels": megapixels, "pixels": int(megapixels * 1e6), "bytes": 1000}
    return {"part": "codecs", "of": of, "setting": "as usual"} | size | numbers | others


OURS = codecs.OURS["variable"].name


@pytest.fixture
def found():
    """Results of our codec, whose cost grows as the pixels, and of JPEG with a decoder of their square."""
    rows = [
        *(row(OURS, size, 2 * size, 4 * size) for size in (0.25, 2, 24)),
        *(row("JPEG", size, 0.1 * size, 0.01 * size**2) for size in (0.25, 2, 24)),
        {
            "part": "codecs",
            "of": "mbt2018",
            "setting": "",
            "megapixels": 24,
            "pixels": 24 * 10**6,
            "note": "why",
        },
        {
            "part": "commands",
            "of": commands.SCRIPTS,
            "encode seconds": [0.9, 1.0, 1.1],
            "decode seconds": [0.4, 0.5, 0.6],
            "encode MB": 150.0,
            "decode MB": 301.0,
        },
        {"part": "commands", "of": commands.IMPORT, "encode seconds": [1.0, 1.25, 2.0], "encode MB": 600.0},
        row("mbt2018-mean", 2, 20, 30),
        *(
            {"part": "stages", "of": name, "encode seconds": [seconds], "decode seconds": [seconds]}
            for name, seconds in (("entropy model", 0.05), ("coder", 0.01), (stages.WHOLE, 0.16))
        ),
    ]
    origin = {
        "date": "2026-01-31",
        "machine": {"processor": "a CPU", "cores": 2},
        "versions": {"python": "3.12.1", "numpy": "2.1"},
        "settings": {"megapixels": [0.25, 2, 24], "repeats": 3},
    }
    return origin | {"rows": rows}


def test_the_photograph_is_itself_at_its_own_size_and_mirrored_beyond():
    small, large = np.asarray(photograph.make(0.25)), np.asarray(photograph.make(2))
    assert small.shape == (512, 512, 3) and large.shape == (1408, 1408, 3)
    np.testing.assert_array_equal(large[:512, :512], small)
    np.testing.assert_array_equal(large[:512, 512:1024], small[:, ::-1])
    np.testing.assert_array_equal(large[512:1024, 1024:], small[::-1, :384])


def test_symbols_are_those_of_the_coder(coded):
    integers, contexts, bank = coder.coded("hard")
    writer = entropy.Writer(bank)
    writer.write(integers, contexts)
    assert writer.close().endswith(code_of(entropy.default_engine(), *coded))


def test_constriction_gives_back_the_symbols(coded):
    pytest.importorskip("constriction")
    from evaluation.bench import constriction

    symbols, contexts, frequencies = coded
    code = code_of(constriction, *coded)
    np.testing.assert_array_equal(constriction.Reader(code, frequencies).read(contexts), symbols)
    shares = frequencies[contexts, symbols] / frequencies.sum(1)[contexts]
    assert 8 * len(code) == pytest.approx(-np.log2(shares).sum(), rel=0.01)


def test_an_engine_is_measured_both_ways(coded):
    symbols, contexts, frequencies = coded
    some = (symbols[:500], contexts[:500], frequencies)
    numbers = coder.measure(engine_package, *some, repeats=2)
    assert numbers["bytes"] == len(code_of(engine_package, *some))
    assert len(numbers["encode seconds"]) == len(numbers["decode seconds"]) == 2


def test_without_constriction_there_is_one_line_and_the_rest(monkeypatch, caplog):
    monkeypatch.setattr(coder.importlib.util, "find_spec", lambda name: None)
    assert list(coder.engines()) == [coder.OURS, coder.PACKAGE]
    assert [record.getMessage() for record in caplog.records] == [
        "without constriction: the package is not installed"
    ]


def test_without_a_codec_there_is_one_line_and_the_rest(monkeypatch, caplog):
    monkeypatch.setattr(codecs.importlib.util, "find_spec", lambda name: None)
    assert sizes.available(["jpeg", "mbt2018", "jpeg"]) == ["jpeg"]
    assert [record.getMessage() for record in caplog.records] == [
        "without mbt2018: the package compressai is not installed"
    ]


def test_what_would_take_too_long_or_too_much_memory_is_left_out(monkeypatch):
    monkeypatch.setattr(sizes, "free_megabytes", lambda: 1000.0)
    last = row("JPEG", 1, 2.0, 3.0)
    assert sizes.too_much(None, 10**6, limit=1) is None
    assert sizes.too_much(last, 9 * 10**6, limit=60) is None
    assert "about 90 s" in sizes.too_much(last, 30 * 10**6, limit=60)
    assert "3 GB" in sizes.too_much(last, 30 * 10**6, limit=100)
    assert sizes.too_much(last | {"note": "encode failed"}, 10**7, limit=60) == "encode failed"


def test_sizes_grow_and_only_other_codecs_are_left_out(monkeypatch):
    numbers = {"encode seconds": [9.0], "decode seconds": [1.0], "encode MB": 1.0, "decode MB": 1.0}
    monkeypatch.setattr(sizes, "measure", lambda *_: numbers)
    rows = list(sizes.rows(["hard", "jpeg"], [0.1, 0.004], repeats=1, limit=20))
    assert [(row["of"], row["megapixels"], "note" in row) for row in rows] == [
        ("AutoCompressor, hard", 0.004, False),
        ("JPEG", 0.004, False),
        ("AutoCompressor, hard", 0.1, False),
        ("JPEG", 0.1, True),
    ]


def test_a_codec_that_fails_has_a_note(tmp_path):
    numbers = sizes.measure("jpeg", str(tmp_path / "missing.png"), str(tmp_path / "file"), repeats=1)
    assert list(numbers) == ["note"]
    assert "encode failed" in numbers["note"] and "FileNotFoundError" in numbers["note"]


def test_a_command_has_its_own_memory_alone():
    """Not that of the process which starts it: this one has PyTorch."""
    small = launch.run([sys.executable, "-c", "print(input())"], "hello")
    large = launch.run([sys.executable, "-c", "b'1' * 300_000_000"])
    assert small.output == "hello\n" and small.seconds > 0
    assert small.megabytes < 60 and large.megabytes > 300
    with pytest.raises(launch.LaunchError, match=r"^ValueError: why$"):
        launch.run([sys.executable, "-c", "raise ValueError('why')"])


def test_the_scripts_run_in_turns_with_the_import_and_the_first_turn_does_not_count(monkeypatch):
    turns = []

    def fake(command):
        turns.append(command[1] if command[1] != "-c" else command[2])
        return launch.Run(float(len(turns)), 10.0 * len(turns), "")

    monkeypatch.setattr(launch, "run", fake)
    scripts, imported, start = commands.rows(repeats=2)
    assert turns == ["import torch", "encode.py", "decode.py", "pass"] * 3
    assert (scripts["encode seconds"], scripts["decode seconds"]) == ([6, 10], [7, 11])
    assert (imported["encode seconds"], imported["encode MB"]) == ([5, 9], 90)
    assert "decode seconds" not in imported and start["encode seconds"] == [8, 12]


def test_the_stages_of_both_ways_sum_to_one_call():
    rows = list(stages.rows(repeats=1, megapixels=0.004))
    assert [row["of"] for row in rows] == [*stages.STAGES, stages.WHOLE]
    for way in table.WAYS:
        *parts, whole = [row[f"{way} seconds"][0] for row in rows]
        assert sum(parts[3:]) == pytest.approx(whole)


def test_the_exponent_is_the_slope():
    assert table.exponent([100, 1000, 10000], [1, 10, 100]) == pytest.approx(1)
    assert table.exponent([100, 200], [3, 12]) == pytest.approx(2)


def test_the_exponents_of_codecs_with_several_sizes(found):
    assert table.growth(found) == {
        OURS: {"encode": pytest.approx(1), "decode": pytest.approx(1)},
        "JPEG": {"encode": pytest.approx(1), "decode": pytest.approx(2)},
    }


def test_a_ratio_has_the_spread_that_the_runs_allow():
    ratio = table.Spread.of([1, 3, 2]) / table.Spread.of([4, 8, 5])
    assert (ratio.median, ratio.least, ratio.most) == (2 / 5, 1 / 8, 3 / 4)
    assert str(ratio) == "0.400 (0.125 to 0.750)"


def test_the_table_compares_with_ours_at_the_same_size_and_with_the_import(found):
    rows = {(row["of"], row["size"]): row for row in table.rows(found)}
    assert all(tuple(row) == table.COLUMNS for row in rows.values())
    jpeg = rows["JPEG, as usual", "24 MP"]
    assert jpeg["encode"] == "0.100 (0.100 to 0.100)" and jpeg["encode ratio"].startswith("0.0500 (")
    assert rows[f"{OURS}, as usual", "2 MP"]["decode ratio"] == "1"
    scripts = rows[commands.SCRIPTS, "512x512"]
    assert scripts["encode ratio"] == "0.800 (0.450 to 1.10)"
    assert scripts["decode ratio"] == "0.400 (0.200 to 0.600)"
    assert rows["JPEG", "-"]["decode"] == "2.00"


def test_goals_are_met_or_not(found):
    lines = table.goals(found)
    said = [line.rsplit(": ", 1)[1] for line in lines]
    assert said == ["not met", "met", "met", "not met", "met", "met", "met", "not met", "met", "not met"]
    assert "entropy model and coder, at most 40% of decoding: 37.5%: met" in lines
    assert lines[-1] == "decode, 2 MP, 4 times as fast as mbt2018-mean: 3.75 (3.75 to 3.75): not met"


def test_the_origin_of_the_figures_is_said(found):
    line = "Measured on 2026-01-31, 3 runs; a CPU, 2 cores; python 3.12.1, numpy 2.1."
    assert table.markdown(found).startswith(f"{line}\n\n| part |")


def test_what_was_left_out_is_said(found):
    assert table.notes(found) == ["mbt2018, 24 MP: why"]
    assert "- mbt2018, 24 MP: why\n" in table.markdown(found)


def test_the_chart_has_a_line_for_each_codec_that_was_measured(found):
    seconds, _, memory = chart.draw(found).axes
    assert [line.get_label() for line in memory.lines] == [OURS, "JPEG", "mbt2018-mean"]
    assert len(seconds.containers) == 3


def test_results_are_read_as_they_were_written(found, tmp_path):
    run.write(found, tmp_path)
    assert run.read(tmp_path) == found


def test_the_document_has_the_table_of_the_results():
    with open(os.path.join(ROOT, "docs", "results.md"), encoding="utf-8") as file:
        text = file.read()
    assert table.markdown(run.read(os.path.join(ROOT, "resources", "analytics"))) in text
