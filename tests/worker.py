"""What each of two workers computes, and one process alone: for `test_workers.py` to compare.

python tests/worker.py PORT0 PORT1 INDEX FILE
"""

import sys

import keras
import numpy as np
import tensorflow as tf
from test_distribution import E, batched, bits, model, standardised_draws

import keras_vae
from keras_vae.workers import Workers


def grey() -> keras_vae.data.Source:
    """Bits that are drawn at each visit: they must be the same, whoever makes them."""
    values = np.random.default_rng(1).integers(0, 256, (11, *E), dtype=np.uint8)
    return keras_vae.data.Source(values, divisor=255.0, dynamic=True)


def trained(strategy, data, **given):
    """The history and the weights of two epochs; batches of 4, 4 and 3 rows; noise taken out."""
    vae = model(strategy, learning_rate=0.3)
    history = vae.fit(data, epochs=2, verbose=0, validation_data=data, **given).history
    return vae, {**history, **{f"weight {i}": w for i, w in enumerate(vae.get_weights())}}


def results(strategy) -> dict[str, np.ndarray]:
    """Numbers that do not depend on how many processes there are."""
    x, weights = bits(11), np.linspace(0, 2, 11, dtype="float32")
    vae, of_source = trained(strategy, grey(), batch_size=4)
    _, of_dataset = trained(strategy, batched(x, size=4))
    _, of_weighted = trained(strategy, x, batch_size=4, sample_weight=weights)
    found = {
        "source": of_source,
        "dataset": of_dataset,
        "weighted": of_weighted,
        "evaluate": vae.evaluate(x, batch_size=4, verbose=0, return_dict=True),
        "predict": {"mean": vae.predict(x, batch_size=4, verbose=0)},
        "batch": vae.train_on_batch(x, return_dict=True),
    }
    return {f"{kind} {k}": np.asarray(v) for kind, of in found.items() for k, v in of.items()}


def refusals(strategy) -> list[str]:
    """What is said to what TensorFlow cannot do."""
    said = []
    vae = model(strategy)
    for asked in ({"jit_compile": True}, {"steps_per_execution": 4}):
        try:
            vae.compile(keras.optimizers.SGD(), **asked)
        except ValueError as error:
            said.append(str(error))
    return said


def main(first: str, second: str, index: str, file: str) -> None:
    """Writes what this worker has found."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    strategy = Workers((f"localhost:{first}", f"localhost:{second}"), int(index)).join()
    found = results(strategy)
    (drawn,) = standardised_draws(strategy)
    np.savez(file, **found, drawn=drawn, refusals=refusals(strategy))


if __name__ == "__main__":
    main(*sys.argv[1:])
