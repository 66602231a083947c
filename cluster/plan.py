"""Which files and shards are to be coded, and what they become, on any filesystem of fsspec."""

import contextlib
import dataclasses
import os

from coding.errors import UserError

SHARD = ".tar"
MISSING = "{} is not installed; pip install -r requirements-bulk.txt"


@dataclasses.dataclass(frozen=True)
class Task:
    """What is asked for.

    input_path, output_path: of folders, paths or URLs
    decode: restore instead of compress
    quantize_mode: "hard", "soft" or "variable"
    tune: of the encoder, of modes.TUNES, or None for the mode's default
    quality, target_bpp, target_ssimulacra2, lossless: as of `codec.compress`
    device: "cpu" or "cuda"
    """

    input_path: str
    output_path: str
    decode: bool = False
    quantize_mode: str = "variable"
    tune: str | None = None
    quality: float | None = None
    target_bpp: float | None = None
    target_ssimulacra2: float | None = None
    lossless: bool = False
    device: str = "cpu"


@dataclasses.dataclass(frozen=True)
class Unit:
    """A file or a shard that is done as one; name: of the source below its folder."""

    name: str
    source: str
    target: str


@contextlib.contextmanager
def access(path: str):
    """Make an error of the user's of whatever a filesystem of fsspec raises, which can be anything."""
    try:
        yield
    except (OSError, MemoryError, UserError):
        raise
    except Exception as error:
        raise UserError(f"{path}: {error}") from error


def filesystem(path: str) -> tuple:
    """The fsspec filesystem of a path or URL, and the path in it; raises UserError."""
    try:
        import fsspec
    except ImportError as error:
        raise UserError(MISSING.format("fsspec")) from error
    with access(path):
        return fsspec.core.url_to_fs(path)


def is_taken(name: str, decode: bool) -> bool:
    """Whether a file is one to work on, alone or in a shard."""
    from pictures import reading

    return name.lower().endswith(".encoded" if decode else reading.EXTENSIONS)


def renamed(name: str, decode: bool) -> str:
    """The name of what a file becomes."""
    return os.path.splitext(name)[0] + ".png" if decode else name + ".encoded"


def units(task: Task) -> tuple[list[Unit], int]:
    """What is to be done, and how many files and shards are done already.

    Hidden files, and an output folder inside the input, are no inputs. Raises UserError where there is
    nothing to do, or a shard would replace itself, and OSError.
    """
    inputs, root = filesystem(task.input_path)
    outputs, out_root = filesystem(task.output_path)
    with access(task.output_path):
        if outputs.isfile(out_root):
            raise UserError(f"{task.output_path}: must be a folder")
        done = set(outputs.find(out_root))
    with access(task.input_path):
        sources = sorted(inputs.find(root))
        if not sources and not inputs.exists(root):
            raise UserError(f"{task.input_path}: No such file or directory")
    nested = f"{out_root}/" if inputs == outputs and out_root != root else None
    found, skipped = [], 0
    for source in sources:
        name = os.path.relpath(source, root)
        is_shard = name.endswith(SHARD)
        if "/." in f"/{name}" or (nested and source.startswith(nested)):
            continue
        if not is_shard and not is_taken(name, task.decode):
            continue
        target = f"{out_root}/{name if is_shard else renamed(name, task.decode)}"
        if inputs == outputs and target == source:
            raise UserError(f"{name}: a shard needs another --output_path than its own folder")
        if target in done:
            skipped += 1
        else:
            found.append(Unit(name, source, target))
    if not found and not skipped:
        raise UserError(f"{task.input_path}: there is nothing to do here")
    return found, skipped
