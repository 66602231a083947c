"""What an actor of the cluster does with a file or a tar shard."""

import dataclasses
import functools
import io
import tarfile
import uuid

from cluster.plan import SHARD, Task, Unit, access, filesystem, is_taken, renamed
from coding import files
from coding.errors import UserError, message_of

# Where an object that is written is there whole or not at all, and where renaming would be copying.
OBJECT_STORES = {"abfs", "abfss", "adl", "az", "gcs", "gs", "memory", "oss", "s3", "s3a"}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a unit: bytes read and written, and a line for each failure."""

    before: int
    after: int
    failures: tuple[str, ...]


class Worker:
    """Codes units of a task; its models are loaded when the first picture needs them."""

    def __init__(self, task: Task):
        self._task = task
        (self._inputs, _), (self._outputs, _) = map(filesystem, (task.input_path, task.output_path))

    def do(self, unit: Unit) -> Outcome:
        """Write the target of a unit. What goes wrong is told in the Outcome: the other units go on."""
        failures, before, result = [], 0, b""
        try:
            with access(unit.name):
                content = self._inputs.cat_file(unit.source)
            before = len(content)
            if unit.name.endswith(SHARD):
                result = self._shard(unit.name, content, failures)
            else:
                result = self._convert(unit.name, content)
            with access(unit.name):
                self._put(unit.target, result)
        except Exception as error:
            failures.append(_line(unit.name, error))
            result = b""
        return Outcome(before, len(result), tuple(failures))

    def _put(self, path, content):
        """Write a file that is whole or not there."""
        protocols = self._outputs.protocol
        protocols = {protocols} if isinstance(protocols, str) else set(protocols)
        if "file" in protocols:
            files.write(path, content)
        elif OBJECT_STORES.intersection(protocols):
            self._outputs.pipe_file(path, content)
        else:
            folder, name = path.rsplit("/", 1)
            temporary = f"{folder}/.{name}.{uuid.uuid4().hex}.tmp"
            self._outputs.makedirs(folder, exist_ok=True)
            self._outputs.pipe_file(temporary, content)
            self._outputs.mv(temporary, path)

    def _shard(self, name, content, failures):
        """The bytes of a tar file with its images converted, in their order."""
        out = io.BytesIO()
        try:
            with (
                tarfile.open(fileobj=io.BytesIO(content), mode="r:") as shard,
                tarfile.open(fileobj=out, mode="w") as new,
            ):
                for member in filter(tarfile.TarInfo.isfile, shard):
                    data = shard.extractfile(member).read()
                    if is_taken(member.name, self._task.decode):
                        data = self._member(name, member, data, failures)
                    member.size = len(data)
                    new.addfile(member, io.BytesIO(data))
        except tarfile.TarError as error:
            raise UserError(f"{name}: the shard is damaged ({error})") from error
        return out.getvalue()

    def _member(self, shard, member, data, failures):
        """The bytes that an image of a shard becomes, after its TarInfo is renamed; it stays if it fails."""
        try:
            data = self._convert(member.name, data)
        except Exception as error:  # of one picture; the others go on
            failures.append(f"{shard}: {_line(member.name, error)}")
            return data
        member.name = renamed(member.name, self._task.decode)
        for header in "path", "size":  # of a name that is long or not ASCII; they would win over the new ones
            member.pax_headers.pop(header, None)
        return data

    def _convert(self, name, content):
        """The bytes that a picture becomes."""
        import codec
        from coding import container
        from engines import pair
        from pictures import reading, writing

        if self._task.decode:
            encoded = container.unpack(content)
            mode, device = encoded.setting.mode.name, self._task.device
            decoder = pair.Decoder.find(encoded.decoder_id, mode, device)
            return writing.to_png(codec.decompress(content, decoder))
        names = ("quality", "target_bpp", "target_ssimulacra2", "lossless")
        rate = {name: getattr(self._task, name) for name in names}
        return codec.compress(reading.read(name, io.BytesIO(content)), self._encoder, **rate)

    @functools.cached_property
    def _encoder(self):
        from engines import pair, shipped

        path = shipped.path(self._task.quantize_mode, "encoder", self._task.tune)
        return pair.Encoder.load(path, self._task.device)


def _line(name, error):
    message = " ".join(message_of(error).split())
    return message if message.startswith(name) else f"{name}: {message}"
