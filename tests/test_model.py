"""The transforms, and the files of models."""

import dataclasses
import os
import pickle

import numpy as np
import pytest
import torch

import model
from coding import entropy
from coding.latents import LatentCoder
from conftest import build_pair, build_transforms, pictures


def saved(pair, folder):
    """The pair once it has been written to a folder and read again."""
    encoder, decoder = pair
    encoder.save(str(folder / "encoder.model"))
    decoder.save(str(folder / "decoder.model"))
    return model.Encoder.load(folder / "encoder.model"), model.Decoder.load(folder / "decoder.model")


def test_save_and_load_give_the_same_outputs(tmp_path, pair):
    encoder, decoder = pair
    encoder2, decoder2 = saved(pair, tmp_path)
    x, t = torch.rand(1, 3, 32, 48), torch.zeros(1)
    with torch.inference_mode():
        y = encoder.transform(x, t)
        assert torch.allclose(encoder2.transform(x, t), y, atol=1e-5)
        assert torch.allclose(decoder2.transform(y, t), decoder.transform(y, t), atol=1e-4)
    assert encoder2.config == encoder.config and encoder2.lambda_ == encoder.lambda_
    assert encoder2.decoder_id == encoder.decoder_id == decoder2.id == decoder.id
    assert {t.dtype for t in decoder2.transform.state_dict().values()} == {torch.float32}
    for name in "lowest", "frequencies":
        assert np.array_equal(getattr(decoder2.coder.bank, name), getattr(decoder.coder.bank, name))


def test_a_pair_that_was_saved_codes_the_same(tmp_path, pair):
    encoder, decoder = pair
    encoder2, decoder2 = saved(pair, tmp_path)
    with torch.inference_mode():
        y = encoder.transform(pictures()[:1], torch.zeros(1))
    payload = encoder.coder.encode(encoder.latents_of(y), 0.0)
    assert encoder2.coder.encode(encoder2.latents_of(y), 0.0) == payload
    assert torch.equal(
        decoder2.coder.decode(payload, (4, 4), 0.0).y, decoder.coder.decode(payload, (4, 4), 0.0).y
    )


def test_finish_leaves_what_training_has_as_it_is():
    trained = build_transforms("variable")
    before = [{name: t.clone() for name, t in module.state_dict().items()} for module in trained]
    encoder, decoder = model.finish(*trained, pictures().split(1), lambda_=0.01)
    for module, state in zip(trained, before):
        assert all(torch.equal(t, state[name]) for name, t in module.state_dict().items())
    assert encoder.lambda_ == 0.01 and encoder.decoder_id == decoder.id
    assert encoder.coder.entropy_model.z_mean.dtype == torch.float64  # frozen


def test_adaptive_models_are_fitted_to_the_pictures():
    """They code them in less than models that know nothing of them but the entropy model."""
    encoder, _ = build_pair("variable")
    kind, entropy_model = encoder.coder.kind, encoder.coder.entropy_model
    nothing = np.zeros(0, int)
    unfitted = LatentCoder(entropy_model, kind, build_bank(kind, entropy_model, nothing))
    with torch.inference_mode():
        samples = [encoder.latents_of(encoder.transform(x, torch.zeros(1))) for x in pictures().split(1)]
    fitted_size, size = (
        sum(bits.sum() for latents in samples for bits in coder.code_lengths(latents, 0.0))
        for coder in (encoder.coder, unfitted)
    )
    assert fitted_size < size


def build_bank(kind, entropy_model, nothing):
    from coding.latents import fit_bank

    return fit_bank(kind, len(entropy_model.slices), nothing, nothing)


def test_weights_lie_in_half_precision_in_the_file(tmp_path, pair):
    saved(pair, tmp_path)
    weights = torch.load(tmp_path / "decoder.model", weights_only=True)["weights"]
    assert {t.dtype for t in weights.values()} == {torch.float16}


def test_the_id_depends_on_weights_and_bank():
    decoder = build_pair("hard")[1]
    bank = decoder.coder.bank
    other = LatentCoder(
        decoder.coder.entropy_model, decoder.coder.kind, entropy.Bank(bank.lowest + 1, bank.frequencies)
    )
    ids = {
        decoder.id,
        model.compute_id(decoder.transform, decoder.coder),
        model.compute_id(decoder.transform, other),
    }
    decoder.transform.head.bias.data[0] += 1
    assert len(ids | {model.compute_id(decoder.transform, decoder.coder)}) == 3


def test_weights_that_half_precision_cannot_hold_are_not_saved(tmp_path):
    _, decoder = build_pair("hard")
    decoder.transform.head.bias.data[0] = 1e6
    with pytest.raises(model.ModelError):
        decoder.save(str(tmp_path / "decoder.model"))
    assert os.listdir(tmp_path) == []


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    trace = tmp_path / "trace"
    for name, write in [
        ("torch.model", torch.save),
        ("pickle.model", lambda o, p: p.write_bytes(pickle.dumps(o))),
    ]:
        write({"format": model.FORMAT, "bomb": Bomb(trace)}, tmp_path / name)
        with pytest.raises(model.ModelError):
            model.Encoder.load(tmp_path / name)
    assert not trace.exists()


@pytest.mark.parametrize(
    "content",
    [
        None,
        3,
        [],
        {},
        {"format": "other"},
        {"format": model.FORMAT, "kind": "encoder"},
        {"format": model.FORMAT, "kind": "encoder", "config": {"digits": (1,)}},
    ],
)
def test_foreign_files_are_model_errors(tmp_path, content):
    torch.save(content, tmp_path / "x.model")
    with pytest.raises(model.ModelError):
        model.Encoder.load(tmp_path / "x.model")


@pytest.mark.parametrize("slices", [(1,) * 1024, (1000, 24), (0, 1024), (1, 2)])
def test_a_model_cannot_ask_for_more_slices_than_are_of_use(slices):
    with pytest.raises(ValueError):
        dataclasses.replace(model.default_config("variable"), digits=(1,) * 1024, slices=slices)


@pytest.mark.parametrize(
    "change",
    [
        {"config": {"quantize_mode": "hard"}},
        {"bank": None},
        {"bank": {"lowest": torch.zeros(4)}},
        {
            "bank": {
                "lowest": torch.zeros(4, dtype=torch.int32),
                "sizes": torch.full((4,), 2000, dtype=torch.int16),
                "frequencies": torch.ones(8, dtype=torch.int16),
            }
        },
        {"weights": {}},
        {"model_id": "x"},
        {"lambda": None},
    ],
)
def test_files_with_absurd_fields_are_model_errors(tmp_path, soft_pair, change):
    soft_pair[0].save(str(tmp_path / "good.model"))
    content = torch.load(tmp_path / "good.model", weights_only=True)
    torch.save({**content, **change}, tmp_path / "bad.model")
    with pytest.raises(model.ModelError):
        model.Encoder.load(tmp_path / "bad.model")


@pytest.mark.parametrize(
    "change",
    [
        {"quantize_mode": "other"},
        {"digits": (1.0,) * 4},
        {"digits": (5,) * 4},
        {"trunk_widths": (10**6, 10**6, 10**6)},
        {"trunk_widths": (4, 4)},
        {"added_blocks": (1, 1, 10**6)},
        {"added_blocks": (-1, 1, 1)},
        {"stages": ()},
        {"stages": ((4, 1, 1),) * 5},
        {"stages": ((10**6, 1, 1),)},
        {"stages": ((4, 10**6, 1),)},
        {"stages": ((4, 1),)},
        {"entropy_widths": (3, 8, 0)},
    ],
)
def test_a_model_cannot_ask_for_what_is_of_no_use(tmp_path, soft_pair, change):
    soft_pair[0].save(str(tmp_path / "good.model"))
    content = torch.load(tmp_path / "good.model", weights_only=True)
    content["config"] |= change
    torch.save(content, tmp_path / "bad.model")
    with pytest.raises(model.ModelError):
        model.Encoder.load(tmp_path / "bad.model")


def test_weights_that_are_no_numbers_are_refused(tmp_path, pair):
    pair[1].save(str(tmp_path / "good.model"))
    content = torch.load(tmp_path / "good.model", weights_only=True)
    content["weights"]["context.z_mean"][0, 0] = float("nan")
    torch.save(content, tmp_path / "bad.model")
    with pytest.raises(model.ModelError, match="no numbers"):
        model.Decoder.load(tmp_path / "bad.model")


def test_a_decoder_is_no_encoder(tmp_path, soft_pair):
    soft_pair[1].save(str(tmp_path / "decoder.model"))
    with pytest.raises(model.ModelError, match="is the decoder"):
        model.Encoder.load(tmp_path / "decoder.model")


def test_missing_and_empty_files_are_model_errors(tmp_path):
    (tmp_path / "empty").touch()
    for path in tmp_path / "none", tmp_path / "empty", tmp_path:
        with pytest.raises(model.ModelError):
            model.Encoder.load(path)
