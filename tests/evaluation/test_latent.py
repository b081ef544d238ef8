"""What is made of q(z|x) of each row: in chunks, compiled once, and kept on the way."""

import numpy as np
import pytest
from interrupted import resumed
from parts import POSTERIORS, PRIORS, data_for, make_vae

from keras_vae import evaluation
from keras_vae.data import Source
from keras_vae.evaluation import active_units, latent, latent_means, rows
from keras_vae.evaluation.latent import _Encoder


def variances(vae, x, **arguments):
    return active_units(vae, x, **arguments).variances


each = pytest.mark.parametrize("measure", [latent_means, variances])


@each
@pytest.mark.parametrize("memory", [1, 30_000])
def test_the_chunks_do_not_change_the_result(measure, memory):
    vae = make_vae()
    x = data_for(vae.likelihood, 30)
    found, whole = measure(vae, x, memory=memory), measure(vae, x)
    np.testing.assert_allclose(found, whole, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("bytes_of_block", [1, 20_000])
def test_the_blocks_of_a_chunk_are_put_together_in_order(monkeypatch, bytes_of_block):
    vae = make_vae(prior=PRIORS["ConditionalNormal"])
    x, condition = data_for(vae.likelihood, 30), np.eye(30, 3, dtype="float32")
    monkeypatch.setattr(latent, "BLOCK", bytes_of_block)
    found = latent_means(vae, Source(x, condition=condition))
    expected = vae.encode(x, condition=condition).mean()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_the_chunks_fit_the_memory(monkeypatch):
    vae, sizes, call = make_vae(), [], _Encoder.__call__
    x = data_for(vae.likelihood, 100)

    def spied(self, source, numbers):
        sizes.append(len(source))
        return call(self, source, numbers)

    monkeypatch.setattr(_Encoder, "__call__", spied)
    row = _Encoder(vae, latent._centre, Source(x)[:1]).bytes_of_row
    assert 2 * x[0].nbytes < row < 100 * x[0].nbytes
    latent_means(vae, x, memory=40 * row)
    assert sizes == [40, 40, 20]


@each
def test_what_was_stopped_goes_on_where_it_was(tmp_path, monkeypatch, measure):
    vae, file = make_vae(), tmp_path / "kept.npz"
    x = data_for(vae.likelihood, 10)
    whole = measure(vae, x, memory=1)
    found, done = resumed(
        monkeypatch, _Encoder, 4, lambda: measure(vae, x, memory=1, checkpoint=file)
    )
    assert done == list(range(10))
    np.testing.assert_array_equal(found, whole)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.npz"]


@pytest.mark.parametrize(
    "measure",
    [
        lambda vae, x, **chunks: evaluation.terms(vae, x, 3, **chunks).kl,
        lambda vae, x, **chunks: evaluation.terms(vae, x, 3, **chunks).log_likelihood,
        lambda vae, x, **chunks: evaluation.kl_per_dimension(vae, x, **chunks),
        lambda vae, x, **chunks: (
            evaluation.independent_baseline(vae.likelihood, x, x, **chunks).mean
        ),
    ],
    ids=["kl", "log likelihood", "KL per dimension", "baseline"],
)
@pytest.mark.parametrize("posterior", ["DiagonalNormal", "Laplace"])
def test_chunks_and_a_stop_change_nothing(tmp_path, monkeypatch, measure, posterior):
    """The KL of a Laplace to a Normal is sampled."""
    vae, file = make_vae(POSTERIORS[posterior]), tmp_path / "kept.npz"
    x = data_for(vae.likelihood, 10)
    whole = measure(vae, x)
    np.testing.assert_allclose(measure(vae, x, memory=1), whole, rtol=1e-5)
    saved, save = [], rows._Store.save

    def save_and_stop(self, parts, now=False):
        save(self, parts, now)
        saved.append(sum(len(next(iter(part.values()))) for part in parts))
        if len(saved) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(rows._Store, "save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        measure(vae, x, memory=1, checkpoint=file)
    np.testing.assert_allclose(measure(vae, x, memory=1, checkpoint=file), whole, rtol=1e-5)
    assert saved == [1, 2, 3, 4, 4, 5, 6, 7, 8, 9, 10, 10]


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    vae, file = make_vae(), tmp_path / "kept.npz"
    x = data_for(vae.likelihood, 10)
    latent_means(vae, x, checkpoint=file)
    with pytest.raises(ValueError, match="is of another run"):
        latent_means(vae, x[::-1], checkpoint=file)
    with pytest.raises(ValueError, match="is of another run"):
        active_units(vae, x, checkpoint=file)
    vae.posterior.projections["loc"].bias.assign_add([1.0, 0.0])
    with pytest.raises(ValueError, match="is of another run"):
        latent_means(vae, x, checkpoint=file)


def test_a_model_is_traced_for_its_first_rows_and_for_any_others():
    vae = make_vae()
    x = data_for(vae.likelihood, 30)
    for size in (30, 1, 7, 30, 12):
        latent_means(vae, x[:size])
    ((compiled, _),) = latent._COMPILED[vae].values()
    assert compiled.experimental_get_tracing_count() == 2  # of one row, and of any number


def test_weights_that_were_changed_count_at_once():
    vae = make_vae()
    x = data_for(vae.likelihood, 5)
    before = latent_means(vae, x)
    vae.posterior.projections["loc"].bias.assign_add([1.0, 0.0])
    np.testing.assert_allclose(latent_means(vae, x) - before, [[1.0, 0.0]] * 5, atol=1e-5)


def test_equal_rows_of_other_kinds_of_data_are_encoded_alike():
    vae = make_vae()
    bits = np.random.default_rng(0).integers(0, 2, (20, *vae.likelihood.event_shape), "uint8")
    whole = latent_means(vae, bits.astype("float32"))
    np.testing.assert_array_equal(latent_means(vae, bits), whole)
    scaled = Source(255 * bits, divisor=255.0)
    np.testing.assert_allclose(latent_means(vae, scaled), whole, rtol=1e-6)
