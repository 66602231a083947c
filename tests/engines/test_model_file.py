"""The files of models."""

import dataclasses
import io
import json
import os
import pickle
import zipfile

import numpy as np
import onnx
import pytest
import torch

from coding import entropy
from coding.latents import LatentCoder, Latents
from conftest import build_files, build_transforms, joined, pictures
from engines import export, onnx_engine, torch_engine
from engines.model_file import FORMAT, ModelError, ModelFile
from engines.pair import Decoder, Encoder


@pytest.fixture(scope="module", params=["hard", "soft", "variable"])
def files(request):
    return build_files(request.param)


def samples(transform):
    """Latents of the pictures, at t = 0."""
    for x in pictures().split(1):
        yield Latents(*(part[0].transpose(1, 2, 0) for part in transform(x.numpy(), 0.0)))


@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_save_and_load_give_the_same(tmp_path, files, engine):
    encoder, decoder = files
    encoder.save(str(tmp_path / "encoder.model"))
    decoder.save(str(tmp_path / "decoder.model"))
    encoder2 = Encoder.load(str(tmp_path / "encoder.model"), engine=engine)
    decoder2 = Decoder.load(str(tmp_path / "decoder.model"), engine=engine)
    assert encoder2.config == encoder.config and encoder2.lambda_ == encoder.lambda_
    assert encoder2.decoder_id == encoder.decoder_id == decoder2.id == decoder.id
    for latents in samples(torch_engine.Transform(encoder, "cpu")):
        payload = encoder.coder.encode([latents], 0.0)
        assert encoder2.coder.encode([latents], 0.0) == payload
        decoded = joined(decoder.coder.decode(payload, latents.y.shape[:2], 0.0))
        assert np.array_equal(joined(decoder2.coder.decode(payload, latents.y.shape[:2], 0.0)).y, decoded.y)


def test_both_engines_compute_the_same(files):
    for file, shape in zip(files, ((1, 3, 48, 80), (1, files[1].config.channels, 3, 5))):
        x = np.random.default_rng(0).random(shape, np.float32)
        for t in (0.0,) if file.config.mode.is_fixed else (-1.25, 0.3, 2.5):
            light, heavy = (engine.Transform(file, "cpu")(x, t) for engine in (onnx_engine, torch_engine))
            assert len(light) == len(heavy)
            assert all(np.allclose(one, other, atol=1e-4) for one, other in zip(light, heavy))


def test_finish_leaves_what_training_has_as_it_is():
    trained = build_transforms("variable")
    before = [{name: t.clone() for name, t in module.state_dict().items()} for module in trained]
    encoder, decoder = export.finish(*trained, pictures().split(1), lambda_=0.01)
    for module, state in zip(trained, before):
        assert all(torch.equal(t, state[name]) for name, t in module.state_dict().items())
    assert encoder.lambda_ == 0.01 and encoder.decoder_id == decoder.id
    # And what it makes is what it made for the golden files, whatever else the exporter writes.
    golden = build_files("variable")
    for file, other in zip((encoder, decoder), golden):
        for engine in onnx_engine, torch_engine:
            x = np.random.default_rng(0).random(
                (1, 3, 48, 80) if file is encoder else (1, 5, 3, 5), np.float32
            )
            outputs = (engine.Transform(some, "cpu")(x, 0.3) for some in (file, other))
            assert all(np.allclose(one, two, atol=1e-5) for one, two in zip(*outputs))
        weights = other.coder.entropy_model.weights
        assert all(np.array_equal(w, weights[n]) for n, w in file.coder.entropy_model.weights.items())


def test_adaptive_models_are_fitted_to_the_pictures(files):
    """They code them in less than models that know nothing of them but the entropy model."""
    from coding.latents import fit_bank

    coder, nothing = files[0].coder, np.zeros(0, int)
    bank = fit_bank(coder.kind, len(coder.entropy_model.slices), nothing, nothing)
    unfitted = LatentCoder(coder.entropy_model, coder.kind, bank)
    pictures_latents = list(samples(torch_engine.Transform(files[0], "cpu")))
    fitted_size, size = (
        sum(some.measure(latents, 0.0).bits for latents in pictures_latents) for some in (coder, unfitted)
    )
    assert fitted_size < size


def test_weights_lie_in_half_precision_under_their_names(tmp_path, files):
    files[0].save(str(tmp_path / "encoder.model"))
    with zipfile.ZipFile(tmp_path / "encoder.model") as archive:
        graph = onnx.load_model_from_string(archive.read("transform.onnx"))
        arrays = np.load(io.BytesIO(archive.read("entropy_model.npz")))
    onnx.checker.check_model(graph, full_check=True)
    halves = {w.name for w in graph.graph.initializer if w.data_type == onnx.TensorProto.FLOAT16}
    assert {"conv1.weight", "neck.bias", "hyper.0.weight", "gain"} <= halves
    assert {arrays[name].dtype for name in arrays if not name.startswith("bank.")} == {np.dtype(np.float16)}


def test_the_id_depends_on_weights_and_bank():
    decoder = build_files("hard")[1]
    coder = decoder.coder
    bank = entropy.Bank(coder.bank.lowest + 1, coder.bank.frequencies)
    other = dataclasses.replace(decoder, coder=LatentCoder(coder.entropy_model, coder.kind, bank))
    ids = {decoder.id, other.id, build_files("hard", seed=1)[1].id}
    assert len(ids) == 3 and decoder.id == build_files("hard")[1].id


def test_weights_that_half_precision_cannot_hold_are_not_saved():
    analysis, synthesis, network = build_transforms("hard")
    synthesis.head.bias.data[0] = 1e6
    with pytest.raises(ModelError, match="half precision"):
        export.finish(analysis, synthesis, network, pictures().split(1), 0.01)


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def parts_of(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path, parts, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


@pytest.fixture
def parts(tmp_path, files):
    """The parts of an encoder's file."""
    files[0].save(str(tmp_path / "good.model"))
    return parts_of(tmp_path / "good.model")


def refused(path, match=None):
    for engine in "onnx", "torch":
        with pytest.raises(ModelError, match=match):
            Encoder.load(str(path), engine=engine)


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, parts):
    trace, bad = tmp_path / "trace", tmp_path / "bad.model"
    bad.write_bytes(pickle.dumps(Bomb(trace)))
    refused(bad)
    torch.save(Bomb(trace), bad)
    refused(bad)
    array = io.BytesIO()
    np.savez(array, bomb=np.array([Bomb(trace)], object))
    for name in parts:
        write(bad, parts | {name: pickle.dumps(Bomb(trace))})
        refused(bad)
    write(bad, parts | {"entropy_model.npz": array.getvalue()})
    refused(bad)
    assert not trace.exists()


@pytest.mark.parametrize("missing", ["model.json", "transform.onnx", "entropy_model.npz"])
def test_a_file_that_lacks_a_part_or_has_it_compressed_or_empty_is_refused(tmp_path, parts, missing):
    write(tmp_path / "bad.model", {name: part for name, part in parts.items() if name != missing})
    refused(tmp_path / "bad.model")
    write(tmp_path / "bad.model", parts | {missing: b""})
    refused(tmp_path / "bad.model")
    write(tmp_path / "bad.model", parts, zipfile.ZIP_DEFLATED)
    refused(tmp_path / "bad.model")


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"},
        {"format": FORMAT, "kind": "decoder"},
        {"config": None},
        {"config": {"digits": [1]}},
        {"decoder_id": "x"},
        {"lambda": None},
        {"tune": "ear"},
    ],
)
def test_absurd_fields_are_refused(tmp_path, parts, change):
    fields = json.loads(parts["model.json"]) | change
    write(tmp_path / "bad.model", parts | {"model.json": json.dumps(fields)})
    refused(tmp_path / "bad.model")


@pytest.mark.parametrize(
    "name, array",
    [
        ("z_mean", np.zeros((3, 4), np.float16)),
        ("last.0.weight", np.zeros((10**6, 1), np.float16)),
        ("another", np.zeros(1, np.float16)),
        ("bank.lowest", np.zeros(4, np.int32)),
        ("bank.sizes", np.full(4, 2000, np.int16)),
        ("bank.frequencies", np.ones(8, np.int16)),
    ],
)
def test_absurd_arrays_are_refused(tmp_path, parts, name, array):
    with np.load(io.BytesIO(parts["entropy_model.npz"])) as arrays:
        changed = dict(arrays) | {name: array}
    content = io.BytesIO()
    np.savez(content, **changed)
    write(tmp_path / "bad.model", parts | {"entropy_model.npz": content.getvalue()})
    refused(tmp_path / "bad.model")


def test_weights_that_are_no_numbers_are_refused(tmp_path, parts):
    with np.load(io.BytesIO(parts["entropy_model.npz"])) as arrays:
        changed = dict(arrays)
    changed["z_mean"][0, 0] = np.nan
    content = io.BytesIO()
    np.savez(content, **changed)
    write(tmp_path / "bad.model", parts | {"entropy_model.npz": content.getvalue()})
    refused(tmp_path / "bad.model", "no numbers")


def test_a_graph_that_is_no_transform_is_refused(tmp_path, parts, files):
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    value = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy")
    graph = onnx.helper.make_graph([node], "other", *([v] for v in value))
    other = onnx.helper.make_model(graph).SerializeToString()
    write(tmp_path / "bad.model", parts | {"transform.onnx": other})
    refused(tmp_path / "bad.model")


def test_a_decoder_is_no_encoder(tmp_path, files):
    files[1].save(str(tmp_path / "decoder.model"))
    refused(tmp_path / "decoder.model", "is the decoder")


def test_missing_and_empty_files_are_model_errors(tmp_path):
    (tmp_path / "empty").touch()
    for path in tmp_path / "none", tmp_path / "empty", tmp_path:
        with pytest.raises(ModelError):
            ModelFile.load(str(path), "encoder")
        assert os.path.basename(path)
