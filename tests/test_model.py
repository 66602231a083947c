import os
import pickle

import numpy as np
import pytest
import torch

import model
from conftest import build_pair


def test_save_and_load_give_the_same_outputs(tmp_path, classic_pair):
    encoder, decoder = classic_pair
    for module, kind in zip(classic_pair, ["encoder", "decoder"]):
        model.save(module, str(tmp_path / f"{kind}.model"))
    encoder2 = model.load(tmp_path / "encoder.model", "encoder")
    decoder2 = model.load(tmp_path / "decoder.model", "decoder")
    x = torch.rand(1, 3, 32, 48)
    with torch.inference_mode():
        assert torch.allclose(encoder2(x), encoder(x), atol=1e-5)
        assert torch.allclose(decoder2(encoder2(x)), decoder(encoder(x)), atol=1e-4)
    assert encoder2.config == encoder.config and encoder2.model_id == decoder2.model_id == decoder.model_id
    assert all(t.dtype == torch.float32 for name, t in decoder2.state_dict().items() if not name.startswith("context."))
    for name in "lowest", "frequencies":
        assert torch.equal(decoder2.bank[name], decoder.bank[name])


def test_lambda_travels_with_the_encoder_and_files_without_one_have_that_of_their_mode(tmp_path):
    encoder, _ = build_pair("hard")
    encoder.lambda_ = 0.01
    model.save(encoder, str(tmp_path / "encoder.model"))
    assert model.load(tmp_path / "encoder.model", "encoder").lambda_ == 0.01
    content = torch.load(tmp_path / "encoder.model", weights_only=True)
    del content["lambda"]
    torch.save(content, tmp_path / "encoder.model")
    assert model.load(tmp_path / "encoder.model", "encoder").lambda_ == model.LAMBDA["hard"]


def test_weights_lie_in_half_precision_in_the_file(tmp_path, pair):
    model.save(pair[1], str(tmp_path / "decoder.model"))
    weights = torch.load(tmp_path / "decoder.model", weights_only=True)["weights"]
    assert {t.dtype for t in weights.values()} == {torch.float16}


def test_the_id_depends_on_weights_and_bank():
    ids = set()
    for change in range(3):
        _, decoder = build_pair("hard")
        if change == 1:
            decoder.head.bias.data[0] += 1
        if change == 2:
            decoder.bank = {**decoder.bank, "lowest": decoder.bank["lowest"] + 1}
        ids.add(model.compute_id(decoder))
    assert len(ids) == 3


def test_weights_that_half_precision_cannot_hold_are_not_saved(tmp_path):
    _, decoder = build_pair("hard")
    decoder.head.bias.data[0] = 1e6
    with pytest.raises(model.ModelError):
        model.save(decoder, str(tmp_path / "decoder.model"))
    assert os.listdir(tmp_path) == []


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    trace = tmp_path / "trace"
    for name, write in [("torch.model", torch.save), ("pickle.model", lambda o, p: p.write_bytes(pickle.dumps(o)))]:
        write({"format": model.FORMAT, "bomb": Bomb(trace)}, tmp_path / name)
        with pytest.raises(model.ModelError):
            model.load(tmp_path / name, "encoder")
    assert not trace.exists()


@pytest.mark.parametrize("content", [None, 3, [], {}, {"format": "other"}, {"format": model.FORMAT, "kind": "encoder"},
                                     {"format": model.FORMAT, "kind": "encoder", "config": {"B": 2}}])
def test_foreign_files_are_model_errors(tmp_path, content):
    torch.save(content, tmp_path / "x.model")
    with pytest.raises(model.ModelError):
        model.load(tmp_path / "x.model", "encoder")


@pytest.mark.parametrize("change", [{"config": {"quantize_mode": "hard", "B": 2, "digits": (1,) * 32,
                                                "widths": (10**6, 10**6, 10**6)}},
                                    {"config": {"quantize_mode": "hard", "B": -1, "digits": (1,) * 4,
                                                "widths": (4, 4, 4)}},
                                    {"config": {"quantize_mode": "soft", "B": 10, "digits": (1.0,) * 4, "widths": (4, 4, 4),
                                                "slices": (1, 1, 2), "entropy_widths": (3, 8, 8)}},
                                    {"bank": None}, {"bank": {"lowest": torch.zeros(4)}}, {"weights": {}}])
def test_files_with_absurd_fields_are_model_errors(tmp_path, soft_pair, change):
    model.save(soft_pair[0], str(tmp_path / "good.model"))
    content = torch.load(tmp_path / "good.model", weights_only=True)
    torch.save({**content, **change}, tmp_path / "bad.model")
    with pytest.raises(model.ModelError):
        model.load(tmp_path / "bad.model", "encoder")


def test_weights_that_are_no_numbers_are_refused(tmp_path, pair):
    model.save(pair[1], str(tmp_path / "good.model"))
    content = torch.load(tmp_path / "good.model", weights_only=True)
    content["weights"]["context.z_mean"][0, 0] = float("nan")
    torch.save(content, tmp_path / "bad.model")
    with pytest.raises(model.ModelError, match="no numbers"):
        model.load(tmp_path / "bad.model", "decoder")


def test_a_decoder_is_no_encoder(tmp_path, soft_pair):
    model.save(soft_pair[1], str(tmp_path / "decoder.model"))
    with pytest.raises(model.ModelError, match="is the decoder"):
        model.load(tmp_path / "decoder.model", "encoder")


def test_missing_and_empty_files_are_model_errors(tmp_path):
    (tmp_path / "empty").touch()
    for path in tmp_path / "none", tmp_path / "empty", tmp_path:
        with pytest.raises(model.ModelError):
            model.load(path, "encoder")


def test_the_trunk_takes_the_names_and_shapes_of_torchvision():
    from torchvision.models import resnet18
    theirs = {n: t.shape for n, t in resnet18().state_dict().items() if not n.startswith(("layer4", "fc"))}
    ours = {n: t.shape for n, t in model.Encoder(model.ModelConfig("hard", 2)).state_dict().items()}
    assert theirs.items() <= ours.items()
    assert set(ours) - set(theirs) == {"neck.weight", "neck.bias", "linear.weight", "linear.bias"}


def test_an_embedding_of_512_pixels_squared_has_32768_numbers():
    encoder = model.Encoder(model.ModelConfig("soft", 10)).eval()
    with torch.inference_mode():
        assert np.prod(encoder(torch.rand(1, 3, 512, 512)).shape) == 32_768
