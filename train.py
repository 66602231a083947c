"""Train the encoder and the decoder of one mode, and export their two `.model` files.

    python3 train.py --data photos/ more.tar --val held_out/ --quantize_mode=soft --minutes 60
    python3 train.py --data photos/ --quantize_mode=hard --start_from models/model_B=10
    python3 train.py --data photos/ --quantize_mode=soft --dry-run

The loss is lambda * 255^2 * MSE + bits per pixel. The rate sees the latent with noise, the decoder
sees it rounded. A checkpoint is written every few minutes; --resume goes on from it.
"""
import argparse
import dataclasses
import math
import os
import time

import numpy as np
import torch
from tqdm import tqdm

import cli
import data
import model
import quantize
import start
from entropy import Bank
from prior import LogisticMixturePrior

LAMBDA = {"hard": 0.0028, "soft": 0.0067}


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = lambda name, help, **options: parser.add_argument(
        name, help=help + (" (default: %(default)s)" if options.get("default") is not None else ""), **options)
    add("--data", "folders and tar files of training images", nargs="+", required=True)
    add("--val", "folders and tar files of images to measure on", nargs="+", default=None)
    add("--quantize_mode", "hard (B=2) or soft (B=10)", choices=list(quantize.BITS), required=True)
    add("--lambda", "weight of the distortion; default 0.0028 hard, 0.0067 soft", dest="lambda_", type=float)
    add("--output_dir", "where the .model files go; default models/model_B=2 or models/model_B=10")
    add("--init", "trunk at the start: ImageNet weights from torchvision, or random",
        choices=["imagenet", "random"], default="imagenet")
    add("--start_from", "folder of a trained encoder.model and decoder.model to start from instead")
    add("--steps", "optimiser steps at most", type=int, default=100_000)
    add("--minutes", "minutes at most; the learning rate follows whichever limit is nearer", type=float,
        default=math.inf)
    add("--batch_size", "crops a step", type=int, default=8)
    add("--crop", "pixels a side, a multiple of 16", type=int, default=256)
    add("--lr", "peak learning rate", type=float, default=1e-3)
    add("--seed", "of crops, noise and random weights", type=int, default=0)
    add("--device", "auto, cpu or cuda", choices=["auto", "cpu", "cuda"], default="auto")
    add("--checkpoint", "file to write the state of training to; default runs/MODE.pt")
    add("--resume", "go on from --checkpoint if it exists", action="store_true")
    add("--dry-run", "two steps on a few images, to see whether everything is in place", action="store_true")
    args = parser.parse_args()
    if args.crop % model.STRIDE or args.crop <= 0:
        parser.error(f"--crop must be a multiple of {model.STRIDE}")
    B = quantize.BITS[args.quantize_mode]
    args.lambda_ = args.lambda_ or LAMBDA[args.quantize_mode]
    args.output_dir = args.output_dir or f"models/model_B={B}"
    args.checkpoint = args.checkpoint or f"runs/{args.quantize_mode}.pt"
    if args.device == "auto":
        args.device = "cuda" if torch.cuda.is_available() else "cpu"
    if args.dry_run:
        args.steps, args.batch_size = 2, 2
    return args


def initial_models(args, pixels):
    """Encoder, decoder and prior before the first step, fitted to crops `pixels` (N, 3, H, W)."""
    mode = args.quantize_mode
    config = model.ModelConfig(mode, quantize.BITS[mode])
    if args.start_from:
        encoder, decoder = (model.load(os.path.join(args.start_from, f"{kind}.model"), kind)
                            for kind in ("encoder", "decoder"))
        # Distortion at fine quantisation is in proportion to the square of the step.
        step = (LAMBDA[encoder.config.quantize_mode] / args.lambda_) ** 0.5
    else:
        encoder, decoder = model.Encoder(config), model.Decoder(config)
        if args.init == "imagenet":
            start.load_imagenet(encoder)
        # The step at which a unit of rate and a unit of distortion trade at lambda, for fine quantisation.
        start.principal_components(encoder, decoder, pixels, step=(4e-4 / args.lambda_) ** 0.5)
        encoder.eval()
        start.set_scale(encoder, decoder, pixels)
        step = 1
    if mode == "hard" and not (args.start_from and encoder.config.quantize_mode == mode):
        encoder, decoder = start.coarsen(encoder, decoder, config, pixels, step)
    if encoder.config.quantize_mode != mode:
        raise ValueError(f"--start_from holds a model for --quantize_mode={encoder.config.quantize_mode}")
    prior = LogisticMixturePrior(len(encoder.config.digits))
    with torch.no_grad():
        prior.fit(torch.cat([encoder.eval().steps(part) for part in pixels.split(8)]))
    return encoder, decoder, prior


def learning_rate(progress):
    """Share of the peak at `progress` in [0, 1]: a short linear warm-up, then half a cosine."""
    return min(1, progress / 0.03 + 0.01) * 0.5 * (1 + math.cos(math.pi * min(progress, 1)))


def loss_terms(encoder, decoder, prior, x):
    """Terms of the loss for pixels x (N, 3, H, W): bits per pixel of the noisy latent, mean squared
    error of the rounded one, and the mean square of what clipping takes away, in steps."""
    B, digits = encoder.config.B, torch.tensor(encoder.config.digits, device=x.device)
    y = encoder.steps(x)  # (N, K, H/16, W/16), in steps: the noise is one wide
    bpp = prior.bits(quantize.add_noise(y, B=0)).sum() / (x.numel() / 3)
    mse = (decoder(quantize.round_straight_through(encoder.latent(y), B)) - x).square().mean()
    # Neither of the two leads back a component that is far outside the range of its digits.
    limit = ((2**B + 1) ** digits / 2).view(1, -1, 1, 1)
    clipped = (y - y.clamp(-limit, limit)).square().mean()
    return bpp, mse, clipped


@torch.inference_mode()
def evaluate(encoder, decoder, prior, images, device):
    """Mean bpp under the prior and mean PSNR in dB of uint8 images (H, W, 3), cut to multiples of 16."""
    encoder.eval(), decoder.eval()
    B, bpps, psnrs = encoder.config.B, [], []
    for image in images:
        height, width = (side // model.STRIDE * model.STRIDE for side in image.shape[:2])
        x = torch.from_numpy(image[:height, :width].copy()).to(device).permute(2, 0, 1)[None].float() / 255
        f = quantize.dequantize(quantize.quantize(encoder(x), B), B)
        decoded = decoder(f).mul(255).round().clamp(0, 255) / 255
        bpps.append(prior.bits(decoder.steps(f)).sum().item() / (height * width))
        psnrs.append(-10 * math.log10((decoded - x).square().mean().item()))
    return sum(bpps) / len(bpps), sum(psnrs) / len(psnrs)


def export(encoder, decoder, images, output_dir):
    """Fit the entropy coder's bank on uint8 images (H, W, 3) and write the two `.model` files."""
    # The bank belongs to the rounded weights that users will load.
    for module in encoder, decoder:
        module.cpu().eval().load_state_dict({name: t.half().to(t.dtype) for name, t in module.state_dict().items()})
    B, symbols = encoder.config.B, []
    with torch.inference_mode():
        for image in tqdm(images, "fitting the bank", disable=None):
            height, width = (min(512, side // model.STRIDE * model.STRIDE) for side in image.shape[:2])
            x = torch.from_numpy(image[:height, :width].copy()).permute(2, 0, 1)[None].float() / 255
            symbols.append(quantize.quantize(encoder(x), B)[0].flatten(1).int())
    bank = Bank.fit(torch.cat(symbols, 1).numpy())
    encoder.bank = decoder.bank = {"lowest": torch.from_numpy(bank.lowest),
                                   "frequencies": torch.from_numpy(bank.frequencies)}
    encoder.model_id = model.compute_id(decoder)
    model.save(encoder, os.path.join(output_dir, "encoder.model"))
    model.save(decoder, os.path.join(output_dir, "decoder.model"))


def main():
    args = parse_args()
    torch.manual_seed(args.seed)
    random = np.random.default_rng(args.seed)

    images = data.load_images(args.data, limit=16 if args.dry_run else None)
    held_out = data.load_images(args.val) if args.val else []
    crops = data.Crops(images, args.crop, args.device)

    # Models, and one parameter group for the linear paths, whose weights are small and already good.
    saved = None
    if args.resume and os.path.exists(args.checkpoint):
        saved = torch.load(args.checkpoint, map_location=args.device, weights_only=True)
        config = model.ModelConfig(**saved["config"])
        encoder, decoder = model.Encoder(config), model.Decoder(config)
        prior = LogisticMixturePrior(len(config.digits))
    else:
        pixels = crops.sample(8 if args.dry_run else 256, random).cpu()
        encoder, decoder, prior = initial_models(args, pixels)
    modules = {"encoder": encoder, "decoder": decoder, "prior": prior}
    for module in modules.values():
        module.to(args.device, memory_format=torch.channels_last)
    linear = [*encoder.linear.parameters(), *decoder.linear.parameters()]
    network = [p for m in (encoder, decoder) for n, p in m.named_parameters() if not n.startswith("linear")]
    optimizer = torch.optim.Adam([{"params": network, "peak": args.lr},
                                  {"params": linear, "peak": args.lr * 0.03},
                                  {"params": list(prior.parameters()), "peak": args.lr * 5}])

    step, elapsed = 0, 0.0
    if saved:
        for name, module in modules.items():
            module.load_state_dict(saved[name])
        optimizer.load_state_dict(saved["optimizer"])
        step, elapsed = saved["step"], saved["elapsed"]
        random = np.random.default_rng([args.seed, step])

    def report(when):
        if held_out:
            bpp, psnr = evaluate(encoder, decoder, prior, held_out, args.device)
            print(f"{when}: val {bpp:.4f} bpp {psnr:.3f} dB, "
                  f"loss {args.lambda_ * 255**2 * 10 ** (-psnr / 10) + bpp:.4f}", flush=True)

    def checkpoint():
        os.makedirs(os.path.dirname(args.checkpoint) or ".", exist_ok=True)
        state = {name: module.state_dict() for name, module in modules.items()}
        state |= {"config": dataclasses.asdict(encoder.config), "optimizer": optimizer.state_dict(),
                  "step": step, "elapsed": elapsed}
        torch.save(state, args.checkpoint + ".tmp")
        os.replace(args.checkpoint + ".tmp", args.checkpoint)

    report("before training")
    progress_of = lambda: max(step / args.steps, elapsed / 60 / args.minutes)
    bar = tqdm(total=args.steps, initial=step, unit="step", disable=None)
    mean_bpp = mean_mse = None
    last_time = last_checkpoint = time.monotonic()
    while progress_of() < 1:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * learning_rate(progress_of())

        # One step. Early gradients of the zero-initialised ends are large: clipped.
        # A trunk that comes trained keeps its batch statistics.
        encoder.train(not args.start_from), decoder.train()
        x = crops.sample(args.batch_size, random)  # (N, 3, crop, crop)
        with torch.autocast(args.device, torch.bfloat16, enabled=args.device == "cuda"):
            bpp, mse, clipped = loss_terms(encoder, decoder, prior, x)
            loss = args.lambda_ * 255**2 * mse + bpp + clipped
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network + linear, 1.0)
        optimizer.step()

        step += 1
        now = time.monotonic()
        elapsed, last_time = elapsed + now - last_time, now
        bar.update()
        if step % 20 == 0:
            bpp, mse = bpp.item(), mse.item()
            mean_bpp = bpp if mean_bpp is None else 0.9 * mean_bpp + 0.1 * bpp
            mean_mse = mse if mean_mse is None else 0.9 * mean_mse + 0.1 * mse
            bar.set_postfix_str(f"{mean_bpp:.3f} bpp {-10 * math.log10(mean_mse):.2f} dB")
        if now - last_checkpoint > 240:
            checkpoint()
            report(f"step {step}")
            last_time = last_checkpoint = time.monotonic()
    bar.close()
    checkpoint()
    report(f"step {step}")
    export(encoder, decoder, images[::max(1, len(images) // 400)], args.output_dir)
    print(f"wrote {args.output_dir}/encoder.model and decoder.model")


if __name__ == "__main__":
    cli.run(main)
