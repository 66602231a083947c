"""Time the entropy coder beside the package arithmetic-compressor, and all modes as a whole.

python3 bench.py
python3 bench.py resources/test_images/baboon.png
"""

import argparse
import os
import time

import cli


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = os.path.join(cli.HERE, "resources/test_images/lena.png")
    parser.add_argument("image", nargs="?", default=default, help="image to code (default: lena)")
    return parser.parse_args()


def seconds(function, repeats):
    """The least time of `repeats` calls, which other work on the machine disturbs least."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return min(times)


def main():
    args = parse_args()
    import codec
    import engine_compiled
    import engine_package
    import entropy
    import latent_coder
    import model
    import numpy as np
    import picture
    import quantize
    import tiles
    import torch

    image = picture.read(args.image)
    whole, networks = {}, {}
    pixels = picture.pad(picture.split(image).rgb, model.STRIDE)
    for mode, B in quantize.BITS.items():
        encoder = model.load(cli.shipped_model(mode, "encoder"), "encoder")
        decoder = model.load(cli.shipped_model(mode, "decoder"), "decoder")
        data = codec.compress(image, encoder)
        whole[mode] = [
            seconds(lambda: codec.compress(image, encoder), 5),
            seconds(lambda: codec.decompress(data, decoder), 5),
        ]
        x = tiles.to_tensor(pixels, encoder) / 255
        with torch.inference_mode():
            y, rate = encoder.steps(x), [torch.zeros(1)] if mode == "variable" else []
            networks[mode] = [
                seconds(lambda: encoder.steps(x), 5),
                seconds(lambda: decoder.pixels(y, *rate), 5),
            ]
        if mode == "variable":
            continue

        latent = codec.read_latent(codec.unpack(data, decoder), decoder)
        # The trained bank, and the scheme of the first implementation: one model, all 2^B + 1 values alike.
        symbols = 2**B + 2  # and the escape
        uniform = entropy.Bank(
            np.zeros(1, np.int32), np.full((1, symbols), entropy.SCALE // symbols, np.int16)
        )
        z, b = latent_coder.latents_at(encoder, y, 0.0)
        contexts, integers, _ = latent_coder.symbols(encoder.context, z, b, 0.0)
        for name, bank, contexts, values in (
            ("bank", codec.bank_of(decoder), contexts, integers),
            ("one model", uniform, np.zeros(latent.size, np.int16), latent.ravel()),
        ):
            payload = entropy.encode_in_context(values, contexts, bank, engine_compiled)
            for way, run in (
                ("encode", lambda engine: entropy.encode_in_context(values, contexts, bank, engine)),
                ("decode", lambda engine: entropy.Decoder(payload, bank, engine).decode(contexts)),
            ):
                ours, package = (
                    seconds(lambda: run(engine_compiled), 5),
                    seconds(lambda: run(engine_package), 1),
                )
                print(
                    f"{mode}, {name}, {way} {values.size} integers, {len(payload)} bytes: "
                    f"compiled {1000 * ours:.1f} ms, package {package:.2f} s, ratio {package / ours:.0f}",
                    flush=True,
                )
    for mode, (encode, decode) in whole.items():
        print(
            f"{mode}, whole encode {encode:.3f} s, {encode / networks[mode][0]:.2f} times its network, "
            f"whole decode {decode:.3f} s, {decode / networks[mode][1]:.2f} times, "
            f"both {(encode + decode) / sum(networks[mode]):.2f} times"
        )
    print(f"soft to hard: {sum(whole['soft']) / sum(whole['hard']):.2f}")


if __name__ == "__main__":
    cli.run(main)
