"""Where the time of one picture goes, 512x512 in variable mode, in a process that starts with nothing.

Run with `python3 -m`, this module is that process. The request on standard input is an object of JSON: "way",
encode or decode; "file", the path of a `.encoded` file; "megapixels". The answer has the seconds of STAGES.
"""

import importlib
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator

from evaluation.bench import clock, launch  # light: the imports that are measured come later

MODE, MEGAPIXELS = "variable", 0.25
# The first call is what it takes beyond a later one, the rest what that takes beyond its three parts.
STAGES = ("imports", "model", "first call", "transform", "entropy model", "coder", "rest")
WHOLE = "one call, warm"
CALLS = 3  # of what is warm, whose median counts


def rows(repeats: int, megapixels: float = MEGAPIXELS) -> Iterator[dict]:
    """A row for each stage, and one for a whole call in a process that is warm."""
    request = {"megapixels": megapixels}
    with tempfile.TemporaryDirectory() as folder:
        request["file"] = os.path.join(folder, "file")
        answers = {}
        for way in "encode", "decode":  # the first writes the file
            answers[way] = [launch.ask("stages", way=way, **request)[0] for _ in range(repeats)]
    for stage in (*STAGES, WHOLE):
        times = {f"{way} seconds": [answer[stage] for answer in found] for way, found in answers.items()}
        yield {"part": "stages", "of": stage} | times


def encode(file: str, megapixels: float) -> dict:
    """The seconds of each stage; writes the file."""
    start, encoder = _start("Encoder")
    import codec
    from coding import entropy
    from evaluation.bench import coder, photograph

    image = photograph.make(megapixels)
    first, data = _time(lambda: codec.compress(image, encoder))
    warm, _ = _time(lambda: codec.compress(image, encoder), CALLS)
    with open(file, "wb") as opened:
        opened.write(data)
    transform, real = _time(lambda: coder.analyse(image, encoder), CALLS)
    model, coded = _time(lambda: coder.symbols_of(real, encoder), CALLS)

    def write():
        writer = entropy.Writer(encoder.coder.bank)
        writer.write(*coded)
        return writer.close()

    coding, _ = _time(write, CALLS)
    return start | _stages(first, warm, transform, model, coding)


def decode(file: str, megapixels: float) -> dict:
    """The seconds of each stage, for the file that `encode` wrote.

    Decoding asks the entropy model and the coder in turns. The coder alone reads in all contexts at once, and
    the entropy model is the difference.
    """
    start, decoder = _start("Decoder")
    import codec
    from coding import entropy, tiles
    from engines import pair, shipped, tiled
    from evaluation.bench import coder, photograph

    with open(file, "rb") as opened:
        data = opened.read()
    first, _ = _time(lambda: codec.decompress(data, decoder))
    warm, _ = _time(lambda: codec.decompress(data, decoder), CALLS)
    encoded = codec.unpack(data, decoder)
    both, (latents,) = _time(lambda: list(codec.decode_latents(encoded, decoder)), CALLS)  # of one stripe
    rows, bar = slice(0, len(latents.y)), tiles.bar(0, progress=False)
    t = encoded.setting.t
    transform, _ = _time(lambda: tiled.synthesise(latents.y, rows, t, decoder, bar), CALLS)
    encoder = pair.Encoder.load(shipped.path(MODE, "encoder"))
    _, contexts = coder.symbols_of(coder.analyse(photograph.make(megapixels), encoder), encoder)
    coding, _ = _time(lambda: entropy.Reader(encoded.payload, decoder.coder.bank).read(contexts), CALLS)
    return start | _stages(first, warm, transform, both - coding, coding)


def _time(function, calls=1):
    """The median of the seconds of some calls, and what the last one gave."""
    seconds, result = clock.seconds(function, calls)
    return statistics.median(seconds), result


def _start(kind):
    """The seconds of what comes before the first call, and the "Encoder" or "Decoder"."""
    names = ("codec", "engines.onnx_engine")  # with all that they import in turn
    imports, _ = _time(lambda: [importlib.import_module(name) for name in names])
    from engines import pair, shipped

    path = shipped.path(MODE, kind.lower())
    model, loaded = _time(lambda: getattr(pair, kind).load(path))
    return {"imports": imports, "model": model}, loaded


def _stages(first, warm, transform, entropy_model, coder):
    numbers = (
        max(0.0, first - warm),
        transform,
        entropy_model,
        coder,
        warm - transform - entropy_model - coder,
    )
    return dict(zip(STAGES[2:], numbers)) | {WHOLE: warm}


def main():
    request = json.load(sys.stdin)
    way = {"encode": encode, "decode": decode}[request.pop("way")]
    print(json.dumps(way(**request)))


if __name__ == "__main__":
    main()
