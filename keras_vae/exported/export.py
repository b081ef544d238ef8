"""A model as a numbered SavedModel in a folder that TensorFlow Serving watches."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_vae.arguments import is_real, positive_integer
from keras_vae.exported.examples import Case, cases
from keras_vae.exported.precision import PRECISIONS, in_precision
from keras_vae.exported.reloading import verify
from keras_vae.exported.schema import schema
from keras_vae.exported.signatures import INPUTS, Signatures
from keras_vae.exported.versions import new_version
from keras_vae.exported.warm_up import write_warm_up
from keras_vae.vae import VAE


def export(
    vae: VAE,
    folder: str | Path,
    signatures: Sequence[str] | None = None,
    num_samples: int = 50,
    divisor: float | None = None,
    precision: str | None = None,
    examples: Any = None,
    seed: int = 0,
) -> Path:
    """Writes the next version of a served model: a SavedModel that needs TensorFlow alone.

    The version appears in one rename, after it was loaded in a process that imports
    nothing but TensorFlow and has given the Python model's numbers there. A draw is fixed
    by the `seed` of its row: equal requests have equal answers, whatever the batch, but for
    how matrix products of other numbers of rows round.

    Beside the graph, `assets.extra/` has warm-up requests for every signature, what the
    model assumes (`assumptions.md`), and the inputs and outputs (`schema.json`).

    | signature | inputs | outputs |
    |---|---|---|
    | `encode`, also `serving_default`* | `x [B, *E]` | parameters of q(z|x), `mean [B, D]` |
    | `encode_sample` | `x`, `seed [B]` int64 | `z [B, D]` |
    | `decode` | `z [B, D]` | parameters of p(x|z), `mean [B, *E]` |
    | `decode_sample` | `z`, `seed` | `x [B, *E]` |
    | `reconstruct` | `x` | `mean [B, *E]` |
    | `generate` | `seed` | `z [B, D]`, `mean [B, *E]`, `x [B, *E]` |
    | `score` | `x`, `seed` | `elbo [B]`, `log_likelihood [B]`, `kl [B]`, in nats |

    *The first of those that are exported is. A conditional model takes `condition` in each of them, one of counts with a size factor
    `size_factor [B]` in those that decode.

    Args:
        vae: the model.
        folder: of all versions, such as `models/vae`; it is made if need be.
        signatures: which; by default all.
        num_samples: K, the draws of z that `score` takes for each x.
        divisor: for x as bytes: uint8, divided by this in the graph (255 for grey values in
            [0, 1]). None for x as numbers.
        precision: of the networks: "mixed_bfloat16", "mixed_float16", or "int8" for weights
            of dense layers in a byte each; by default that of the model. Refused if it moves the
            bound of an x by 0.1 nats or more on average.
        examples: x that the warm-up requests and the comparison of precisions are made of, a
            source or an array; by default draws from the model.
        seed: of what is drawn for these.

    Returns:
        The folder of the version, `folder/1` for the first.

    Raises:
        ValueError: if an argument is out of range, or if the model cannot be served.
        RuntimeError: if what was written does not answer as the Python model does.
            Either way no version is left.

    Example:
        keras_vae.export(vae, "models/vae")

    References: C. Olston et al., TensorFlow-Serving: Flexible, High-Performance ML Serving,
    NeurIPS 2017 workshop on ML systems.
    """
    if not isinstance(vae, VAE):
        raise TypeError(f"`vae` is the model. Expected: a keras_vae.VAE. Received: {vae!r}.")
    names = _names(signatures)
    positive_integer(num_samples, "num_samples", vae, "the number of draws of z in `score`")
    _require_divisor(divisor)
    stated = vae.assumptions().as_markdown()
    if precision is not None:
        if precision not in PRECISIONS:
            raise ValueError(
                f"`precision` is of the networks. Expected: one of {', '.join(PRECISIONS)}, or "
                f"None for the model's own. Received: {precision!r}."
            )
        vae = in_precision(vae, precision, examples, seed)
        stated += f"\nThe networks are served in {precision}.\n"
    served = Signatures(vae, num_samples, divisor)
    found = cases(served, names, examples, seed)
    with new_version(Path(folder)) as version:
        _write(served, found, version.path, stated)
        verify(version.path, found)
        return version.publish()


def _names(signatures: Sequence[str] | None) -> tuple[str, ...]:
    if signatures is None:
        return tuple(INPUTS)
    names = (signatures,) if isinstance(signatures, str) else tuple(signatures)
    unknown = [name for name in names if name not in INPUTS]
    if unknown or not names:
        received = repr(unknown[0]) if unknown else "none"
        raise ValueError(
            f"`signatures` are what a server is asked. Expected: some of {', '.join(INPUTS)}. "
            f"Received: {received}."
        )
    return tuple(name for name in INPUTS if name in names)


def _require_divisor(divisor: float | None) -> None:
    if divisor is not None and not (is_real(divisor) and divisor > 0):
        raise ValueError(
            "`divisor` is what bytes are divided by. Expected: a number > 0, such as 255, or None "
            f"for x that is no bytes. Received: {divisor!r}."
        )


def _write(served: Signatures, found: dict[str, Case], path: Path, stated: str) -> None:
    """The graph and what lies beside it."""
    archive = keras.export.ExportArchive()  # its first signature is serving_default, too
    for name in found:
        inputs = [
            tf.TensorSpec(spec.shape, spec.dtype, key) for key, spec in served.inputs(name).items()
        ]
        archive.add_endpoint(name, served.function(name), inputs)
    archive.write_out(path, verbose=False)
    beside = path / "assets.extra"
    beside.mkdir()
    write_warm_up(beside, found)
    (beside / "assumptions.md").write_text(stated, encoding="utf-8")
    (beside / "schema.json").write_text(json.dumps(schema(served, found), indent=2) + "\n")
