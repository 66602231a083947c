"""Compress or restore folders and tar shards of images on a Ray cluster.

python3 bulk.py --input_path=photos/ --output_path=encoded/
python3 bulk.py --input_path=s3://bucket/shards --output_path=s3://bucket/encoded --address=auto --workers=80
python3 bulk.py --decode --input_path=encoded/ --output_path=restored/

Paths are local or any URL of fsspec. a.jpg becomes a.jpg.encoded, and that a.jpg.png. A tar shard, in
WebDataset's layout, becomes a shard of the same name; what is no image in it, or fails, stays in it as it
is. What is there already is skipped.
"""

import argparse
import contextlib
import io
import logging
import os
import sys
import tarfile

from tqdm import tqdm

import cli
from coding import files
from coding.modes import MODES

SHARD = ".tar"
NOT_SHIPPED = (".*", "docs", "notebooks", "resources", "tests", "**/__pycache__")


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add, add_rate = parser.add_argument, parser.add_mutually_exclusive_group().add_argument
    add("--input_path", required=True, metavar="FOLDER", help="folder or URL of images or tar shards")
    add("--output_path", required=True, metavar="FOLDER", help="folder or URL, which mirrors the other")
    add("--decode", action="store_true", help="restore .encoded files instead")
    add("--quantize_mode", choices=MODES, default="variable", help="(default: variable)")
    add_rate("--quality", type=float, metavar="Q", help="of variable mode, 1 to 10 (default: 5)")
    add_rate("--target_bpp", type=float, metavar="X", help="bits per pixel that variable mode comes near to")
    add("--address", metavar="ADDRESS", help="of the cluster, or auto (default: one on this machine)")
    add("--workers", type=int, metavar="N", help="actors, each with a model (default: the cluster's CPUs)")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="cuda: a GPU for each worker (default: cpu)")
    args = parser.parse_args()
    if args.workers is not None and args.workers < 1:
        parser.error("--workers must be positive")
    return args


def filesystem(path):
    """The fsspec filesystem of a path or URL, and the path in it."""
    import fsspec

    try:
        return fsspec.core.url_to_fs(path)
    except (ValueError, ImportError) as error:
        raise cli.UserError(f"{path}: {error}") from error


def is_taken(name, decode):
    """Whether a file is one to work on, alone or in a shard."""
    import picture

    return name.lower().endswith(".encoded" if decode else picture.EXTENSIONS)


def renamed(name, decode):
    """The name of what a file becomes."""
    return name.removesuffix(".encoded") + ".png" if decode else name + ".encoded"


def plan(args):
    """What is to be done: dicts of name, source and target; and how many files are done already."""
    inputs, root = filesystem(args.input_path)
    outputs, out_root = filesystem(args.output_path)
    done, units, skipped = set(outputs.find(out_root)), [], 0
    for source in sorted(inputs.find(root)):
        name = os.path.relpath(source, root)
        is_shard = name.endswith(SHARD)
        if not is_shard and not is_taken(name, args.decode):
            continue
        target = f"{out_root}/{name if is_shard else renamed(name, args.decode)}"
        if target in done:
            skipped += 1
        else:
            units.append({"name": name, "source": source, "target": target})
    if not units and not skipped:
        raise cli.UserError(f"{args.input_path}: there is nothing to do here")
    return units, skipped


class Worker:
    """Codes the files and shards of a dict of `plan`; one model, loaded at the first picture."""

    def __init__(self, args):
        self._args, self._models = args, {}
        (self._inputs, _), (self._outputs, _) = map(filesystem, (args.input_path, args.output_path))

    def __call__(self, unit):
        """What came of it: sizes in bytes, and one line for each failure."""
        failures, content = [], self._inputs.cat_file(unit["source"])
        try:
            if unit["name"].endswith(SHARD):
                result = self._shard(unit["name"], content, failures)
            else:
                result = self._convert(unit["name"], content)
            self._put(unit["target"], result)
        except Exception as error:  # of one unit; the others go on
            failures.append(self._line(unit["name"], error))
            result = b""
        return {"before": len(content), "after": len(result), "failures": "\n".join(failures)}

    def _line(self, name, error):
        message = " ".join(cli.message_of(error).split())
        return message if message.startswith(name) else f"{name}: {message}"

    def _put(self, path, content):
        """Write a file that is whole or not there."""
        if "file" in self._outputs.protocol:
            files.write(path, content)
        else:
            self._outputs.pipe_file(path, content)

    def _shard(self, name, content, failures):
        """The bytes of a tar file with its images converted, in their order."""
        out = io.BytesIO()
        with tarfile.open(fileobj=io.BytesIO(content)) as shard, tarfile.open(fileobj=out, mode="w") as new:
            for member in filter(tarfile.TarInfo.isfile, shard):
                data = shard.extractfile(member).read()
                if is_taken(member.name, self._args.decode):
                    try:
                        data = self._convert(member.name, data)
                        member.name = renamed(member.name, self._args.decode)
                    except Exception as error:  # of one picture, which stays as it is
                        failures.append(f"{name}: {self._line(member.name, error)}")
                member.size = len(data)
                new.addfile(member, io.BytesIO(data))
        return out.getvalue()

    def _convert(self, name, content):
        """The bytes that a picture becomes."""
        import codec
        import picture
        from coding import container

        if self._args.decode:
            mode = container.unpack(content).setting.mode.name
            return picture.to_png(codec.decompress(content, self._model(mode, "decoder")))
        encoder = self._model(self._args.quantize_mode, "encoder")
        rate = {"quality": self._args.quality, "target_bpp": self._args.target_bpp}
        return codec.compress(picture.read(name, io.BytesIO(content)), encoder, **rate)

    def _model(self, mode, kind):
        from engines import pair

        if (mode, kind) not in self._models:
            load = {"encoder": pair.Encoder.load, "decoder": pair.Decoder.load}[kind]
            self._models[mode, kind] = load(pair.shipped(mode, kind), self._args.device)
        return self._models[mode, kind]


@contextlib.contextmanager
def silence():
    """Keep what Ray's processes and threads write, whatever one asks of them, from both standard streams."""
    errors, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    ours = os.fdopen(errors, "w", buffering=1)
    with ours, contextlib.redirect_stderr(ours), contextlib.redirect_stdout(io.StringIO()):
        try:
            yield
        finally:
            os.dup2(errors, 2)


def start(args):
    """Join or start the cluster; returns the package."""
    try:
        import fsspec  # noqa: F401
        import ray
        import ray.data
    except ImportError as error:
        raise cli.UserError("Ray is not installed; pip install -r requirements-bulk.txt") from error
    options = {"log_to_driver": False, "logging_level": logging.ERROR}
    if args.address:
        folder = os.path.dirname(os.path.abspath(__file__))
        options["runtime_env"] = {"working_dir": folder, "excludes": list(NOT_SHIPPED)}
    else:
        options |= {"num_cpus": args.workers, "include_dashboard": False}
    try:
        ray.init(args.address, **options)
    except (ConnectionError, RuntimeError) as error:
        raise cli.UserError(f"the cluster cannot be reached ({error})") from error
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    return ray


def run(args, units):
    """Do the units on the cluster; returns the failures, one line each, and bytes before and after."""
    ray = start(args)
    workers = args.workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
    workers = min(workers, len(units))
    results = ray.data.from_items(units, override_num_blocks=min(len(units), 16 * workers)).map(
        Worker,
        fn_constructor_args=(args,),
        concurrency=workers,
        num_cpus=1,
        num_gpus=1 if args.device == "cuda" else None,
    )
    failures, before, after = [], 0, 0
    for row in tqdm(results.iter_rows(), total=len(units), unit="file", disable=None):
        failures += filter(None, row["failures"].split("\n"))
        before, after = before + row["before"], after + row["after"]
    return failures, before, after


def main():
    args = parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # a worker has one core
    units, skipped = plan(args)
    failures, before, after = [], 0, 0
    if units:
        with silence():
            failures, before, after = run(args, units)
    print(f"{len(units)} files, {before} to {after} bytes; {skipped} were there already")
    for failure in failures:
        cli.warn(failure)
    if failures:
        raise cli.UserError(f"{len(failures)} failed")


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    cli.run(main)
