"""The damage is of the kinds that are meant, and gets past checksums."""

import io
from random import Random

import pytest
from PIL import Image, UnidentifiedImageError

from coding import container
from coding.container import ContainerError
from engines.model_file import ModelError, ModelFile
from fuzz import mutations, originals, targets


def count(makes, is_met, tries=200):
    """How many of the files that makes(Random) gives meet a condition."""
    return sum(bool(is_met(makes(Random(seed)))) for seed in range(tries))


def test_an_input_is_the_same_each_time():
    inputs = [targets.make(3, number) for number in range(50)]
    assert inputs == [targets.make(3, number) for number in range(50)]
    assert len({data for _, data in inputs}) > 40
    assert {target for target, _ in inputs} == set(targets.TARGETS)


def test_damaged_containers_get_past_the_checksum():
    file = originals.encoded()[0]

    def is_taken(data):
        try:
            return data != file and container.unpack(data)
        except ContainerError as error:
            assert "checksum" not in str(error)
            return False

    assert count(lambda random: mutations.mutate_container(random, file, [file]), is_taken) > 100


def test_damaged_png_chunks_get_past_their_checksums():
    file = io.BytesIO()
    Image.new("RGB", (32, 32)).save(file, "PNG")
    data = bytearray(file.getvalue())
    data[19] = 31  # the width
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(data), formats=["PNG"]).verify()
    assert mutations.seal_png(bytes(data)) != data
    Image.open(io.BytesIO(mutations.seal_png(bytes(data))), formats=["PNG"]).verify()


def test_damaged_models_get_past_the_checksums_of_zip(tmp_path):
    file, path = originals.models()[0], tmp_path / "decoder.model"

    def is_taken(data):
        path.write_bytes(data)
        try:
            return ModelFile.load(str(path), "decoder").transform
        except ModelError:
            return False

    assert count(lambda random: mutations.mutate_model(random, file, [file]), is_taken) > 40


@pytest.mark.parametrize("name", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM"])
def test_there_are_images_of_a_format_to_damage(name):
    for data in originals.images()[name]:
        Image.open(io.BytesIO(data), formats=[name]).load()
