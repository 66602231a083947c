"""Time the entropy coder beside the package arithmetic-compressor, and all modes as a whole.

python3 bench.py
python3 bench.py resources/test_images/baboon.png
"""

import argparse
import os

import cli
from coding.modes import MODES


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = os.path.join(os.path.dirname(os.path.abspath(__file__)), "resources", "test_images", "lena.png")
    parser.add_argument("image", nargs="?", default=default, help="image to code (default: lena)")
    return parser.parse_args()


def main():
    args = parse_args()
    import picture
    from evaluation import speed

    image = picture.read(args.image)
    times = {}
    for name, mode in MODES.items():
        encoder, decoder = speed.load(name)
        for line in speed.coder_lines(image, encoder) if mode.is_fixed else ():
            print(line, flush=True)
        times[name] = speed.time_codec(image, encoder, decoder)
    for name, seconds in times.items():
        print(seconds.line(name))
    print(f"soft to hard: {times['soft'].whole / times['hard'].whole:.2f}")


if __name__ == "__main__":
    cli.run(main)
