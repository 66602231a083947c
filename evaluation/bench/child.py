"""A process that encodes or decodes one picture, as `sizes.py` asks it to.

The request on standard input is an object of JSON: "way", encode or decode; "codec", a name in codecs.CODECS;
"image", the path of a picture; "file", that of the codec's file; "repeats". The answer has the "seconds".
"""

import json
import sys

from PIL import Image

from evaluation.bench import clock, codecs

WARM_UP = 64  # pixels to a side of the first picture, which is not timed
LEAST = 0.1  # seconds of a run
SMALL = ".small"  # what the name of its file ends in


def encode(codec, image: str, file: str, repeats: int) -> list[float]:
    """The seconds of the codec's encoder; the file, and that of the first picture, are written."""
    run, picture = codec.encoder(), Image.open(image).convert("RGB")
    first = run(picture.crop((0, 0, WARM_UP, WARM_UP)))
    seconds, data = clock.seconds(lambda: run(picture), repeats, LEAST)
    for path, content in (file, data), (file + SMALL, first):
        with open(path, "wb") as opened:
            opened.write(content)
    return seconds


def decode(codec, image: str, file: str, repeats: int) -> list[float]:
    """The seconds of the codec's decoder for what `encode` wrote; only the size of the image matters."""
    run, contents = codec.decoder(), []
    for path in file, file + SMALL:
        with open(path, "rb") as opened:
            contents.append(opened.read())
    data, first = contents
    run(first)
    seconds, decoded = clock.seconds(lambda: run(data), repeats, LEAST)
    if decoded.size != Image.open(image).size:
        raise ValueError("a picture of another size came back")
    return seconds


def main():
    request = json.load(sys.stdin)
    way = {"encode": encode, "decode": decode}[request.pop("way")]
    codec = codecs.CODECS[request.pop("codec")]
    print(json.dumps({"seconds": way(codec, **request)}))


if __name__ == "__main__":
    main()
