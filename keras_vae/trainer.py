"""Keras's workflow around the equation: compile, fit, evaluate, predict."""

import abc
import warnings
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_vae import advice
from keras_vae.conditions import Given
from keras_vae.data.pipeline import EpochSeed, NewOrder, packed
from keras_vae.data.source import Source
from keras_vae.executions import Executions
from keras_vae.feed import (
    BATCH_SIZE,
    Feed,
    as_batch,
    as_weights,
    check_source,
    holds_rows,
    num_batches,
    split,
)
from keras_vae.generative import GenerativeModel
from keras_vae.native_adam import use_native_adam
from keras_vae.objectives import Objective
from keras_vae.replicas import require_possible, spans_workers


class Trainer(GenerativeModel, abc.ABC):
    """A model whose data is checked first and fed by the package's pipeline.

    The signatures are Keras's own. What is added: `y` is what goes with x, the condition of
    a conditional model; a loss or metrics of the user's are refused; data outside the likelihood's support is refused before
    the first step; the first `fit` on an array starts the likelihood from the data's mean.
    """

    objective: Objective

    def __init__(self, name: str | None, dtype: Any) -> None:
        super().__init__(name=name, dtype=dtype)
        self._executions = Executions(self)

    @abc.abstractmethod
    def check(self, x: Any) -> advice.Advice:
        """What there is to say of the data before training."""

    def compile(
        self,
        optimizer: str | dict | keras.optimizers.Optimizer = "adam",
        loss: None = None,
        loss_weights: None = None,
        metrics: None = None,
        weighted_metrics: None = None,
        run_eagerly: bool = False,
        steps_per_execution: int | str = "auto",
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """`keras.Model.compile`, without a loss or metrics: they follow from the model.

        `steps_per_execution="auto"` lets TensorFlow run several steps for one call from
        Python, unless a number of steps or a callback's own hook of a batch asks for one.
        `jit_compile="auto"` lets XLA compile where it is known to be the faster: on a GPU, and
        on a CPU a long `fit` of dense networks on an array (`compilation.pays`). The draws under
        XLA are others than without it.
        """
        received = {
            "loss": loss,
            "loss_weights": loss_weights,
            "metrics": metrics,
            "weighted_metrics": weighted_metrics,
        }
        for argument, value in received.items():
            if value is not None:
                raise ValueError(
                    f"`{argument}` cannot be chosen: the loss is minus the bound, which follows "
                    f"from the model's distributions. Expected: {argument}=None. Received: "
                    f"{value!r}. Choose a likelihood (squared error is likelihoods.Normal, "
                    "cross-entropy likelihoods.Bernoulli) or an objective instead."
                )
        require_possible(self.distribute_strategy, jit_compile, steps_per_execution)
        if jit_compile and not self.xla:
            if jit_compile is True:
                warnings.warn(
                    "XLA cannot compile the training of this model's distributions: it runs "
                    "without it. Pass jit_compile=False to say so.",
                    stacklevel=2,
                )
            jit_compile = False
        left = {"steps_per_execution": steps_per_execution, "jit_compile": jit_compile}
        self._left_open = {name: value for name, value in left.items() if value == "auto"}
        super().compile(
            optimizer=optimizer,
            run_eagerly=run_eagerly,
            steps_per_execution=1 if steps_per_execution == "auto" else steps_per_execution,
            jit_compile=jit_compile,
            auto_scale_loss=auto_scale_loss,
        )
        one_by_one = run_eagerly or self._num_replicas > 1
        self._executions = Executions(
            self,
            automatic="steps_per_execution" in self._left_open and not one_by_one,
            compiles="jit_compile" in self._left_open,
        )
        use_native_adam(self.optimizer)
        if not self.optimizer.built:
            # Here and not at the first step, so that a checkpoint has where to be loaded to.
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)

    def get_compile_config(self) -> dict:
        """What `compile_from_config` takes: with "auto", where that was said."""
        config = super().get_compile_config()
        return {**config, **self._left_open} if config else config

    def compile_from_config(self, config: dict) -> None:
        """Compiles a loaded model; Keras asks for this where `compile` is a model's own."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int = 1,
    ) -> keras.callbacks.History:
        """`keras.Model.fit` on arrays, a source, a `tf.data.Dataset`, a generator.

        Of a conditional model `y` is the condition; or a dict of all that goes with x, by
        name: `condition`, `size_factor`. A model of x alone takes none.

        Raises:
            ValueError: if the data is outside the likelihood's support, with the argument,
                the value and where it is, what was expected and the likely remedy.
        """
        if class_weight is not None:
            raise ValueError("`class_weight` needs classes, a VAE has none. Use sample_weight.")
        feed = Feed(self.likelihood, self.condition)
        if holds_rows(x):
            x, y = feed.source(x, y), None
        if validation_split and validation_data is None:
            (x, sample_weight), validation_data = split(x, sample_weight, validation_split)
        if holds_rows(x):
            x, sample_weight = feed.rows(x, None, sample_weight)
            rows = (x, sample_weight, batch_size or BATCH_SIZE, shuffle)
            fed, passes = self._executions.fed(*rows, epochs=epochs, steps=steps_per_epoch)
        else:
            fed, passes = feed(x, y, sample_weight), EpochSeed()
        if validation_data is not None:
            held_out, target, weights = keras.utils.unpack_x_y_sample_weight(validation_data)
            size = validation_batch_size or batch_size
            validation_data = feed(held_out, target, weights, size, "validation_data")
        steps = steps_per_epoch or num_batches(fed)
        callbacks = _as_list(callbacks)
        if self.compiled:
            done = int(tf.convert_to_tensor(self.optimizer.iterations))
            advice.refuse_early_stop(
                self.objective, callbacks, initial_epoch, epochs, self._updates(steps), done
            )
            self._before_training(x)
        counted = steps_per_epoch, validation_steps
        with feed.reported(), self._executions.fitting(passes, callbacks, *counted):
            return super().fit(
                fed,
                epochs=epochs,
                shuffle=False,  # the pipeline has done it; Keras would warn
                verbose=verbose,
                callbacks=[NewOrder(passes.begin), *callbacks],
                validation_data=validation_data,
                initial_epoch=initial_epoch,
                steps_per_epoch=steps_per_epoch,
                validation_steps=validation_steps,
                validation_freq=validation_freq,
            )

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        _use_cached_eval_dataset: bool = False,
    ) -> dict[str, float] | list[float]:
        """`keras.Model.evaluate`; data and errors as `fit`."""
        feed = Feed(self.likelihood, self.condition)
        if not _use_cached_eval_dataset:  # set by Keras's fit, whose data has been checked
            x = feed(x, y, sample_weight, batch_size)
        with feed.reported(), self._executions.several(_as_list(callbacks), steps):
            return super().evaluate(
                x,
                verbose=verbose,
                steps=steps,
                callbacks=callbacks,
                return_dict=return_dict,
                _use_cached_eval_dataset=_use_cached_eval_dataset,
            )

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        steps: int | None = None,
        callbacks: Any = None,
        condition: Any = None,
        size_factor: Any = None,
    ) -> np.ndarray:
        """The mean of p(x|z) at the mean of q(z|x), `[N, *E]`; data and errors as `fit`."""
        feed = Feed(self.likelihood, self.condition)
        beside = {"condition": condition, "size_factor": size_factor}
        given = {name: value for name, value in beside.items() if value is not None}
        fed = feed(x, given or None, None, batch_size)
        with feed.reported(), self._executions.several(_as_list(callbacks), steps):
            return super().predict(fed, verbose=verbose, steps=steps, callbacks=callbacks)

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: None = None,
        return_dict: bool = False,
    ) -> dict[str, float] | list[float]:
        """`keras.Model.train_on_batch`; data and errors as `fit`."""
        batch = self._checked_batch(x, y, sample_weight)
        logs = super().train_on_batch(batch, None, None, class_weight, return_dict=True)
        return self._all_logs(logs, return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> dict[str, float] | list[float]:
        """`keras.Model.test_on_batch`; data and errors as `fit`."""
        batch = self._checked_batch(x, y, sample_weight)
        logs = super().test_on_batch(batch, None, None, return_dict=True)
        return self._all_logs(logs, return_dict)

    def predict_on_batch(
        self, x: Any, condition: Any = None, size_factor: Any = None
    ) -> np.ndarray:
        """`keras.Model.predict_on_batch`: the mean of p(x|z) at the mean of q(z|x)."""
        given = {"condition": condition, "size_factor": size_factor}
        return super().predict_on_batch(self._checked_batch(x, given))

    def predict_step(self, data: Any) -> tf.Tensor:
        """One batch of `predict`."""
        return self(as_batch(data))

    def _all_logs(
        self, logs: dict[str, float], return_dict: bool
    ) -> dict[str, float] | list[float]:
        """The logs of a batch; between workers, where a step gives the loss alone, the metrics."""
        if spans_workers(self.distribute_strategy):
            logs = {name: float(value) for name, value in self.get_metrics_result().items()}
        return logs if return_dict else self._flatten_metrics_in_order(logs)

    def _get_metrics_result_or_logs(self, logs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """What `fit` and `evaluate` report: the metrics. Keras takes the logs of the last step
        where these have other names, as they have between workers.
        """
        return self.get_metrics_result()

    def _checked_batch(self, x: Any, y: Any = None, sample_weight: Any = None) -> Any:
        feed = Feed(self.likelihood, self.condition)
        source = feed.source(x, y)
        check_source(self.likelihood, source)
        beside = feed.beside(source.beside(), len(source))
        if sample_weight is not None:
            beside["sample_weight"] = as_weights(sample_weight, len(source))
        return packed(source.array(dtype=self.likelihood.density_dtype), beside)

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Nothing: the model is built. Keras's own averages the first batch over replicas to
        find its shape, and fails where their parts differ in size.
        """

    def _before_training(self, x: Any) -> None:
        """Starts an untrained model from the data, and warns of a collapse."""
        if not self.likelihood.untrained or not isinstance(x, Source | tf.data.Dataset):
            return
        if isinstance(x, Source):
            self._start_from(x)
        try:
            found = self.check(x)
        except ValueError:
            return  # one example, no linear theory; or a later batch, refused by its number in time
        if found.directions == 0:
            warnings.warn(str(found), stacklevel=3)

    def _updates(self, steps: int | None) -> int | None:
        """How many updates of the weights so many steps are."""
        accumulated = self.optimizer.gradient_accumulation_steps or 1
        return None if steps is None else max(1, steps // accumulated)

    # What a step needs beside the equation

    def _unpack(self, data: Any) -> tuple[tf.Tensor, Given, tf.Tensor | None]:
        values = as_batch(data)
        x = keras.ops.cast(values.pop("x"), self.likelihood.density_dtype)
        sample_weight = values.pop("sample_weight", None)
        if sample_weight is not None and self.objective.aggregates:
            raise ValueError(
                f"{type(self.objective).__name__} compares the z of all examples of a batch. "
                "Expected: sample_weight=None. Received: weights. Draw the rows as often as they "
                "should count instead."
            )
        self.beside.require_names(values)
        if "size_factor" in values:
            values["size_factor"] = keras.ops.cast(values["size_factor"], x.dtype)
        return x, Given(**values), sample_weight

    @property
    def _num_replicas(self) -> int:
        return self.distribute_strategy.num_replicas_in_sync

    def _network_losses(self) -> tf.Tensor:
        """The sum of the losses that the networks' layers added, such as regularisers.

        To be called before anything that waits for other replicas: they share the layers,
        and a replica that has waited finds the losses of another.
        """
        dtype = self.likelihood.density_dtype
        return sum((tf.cast(loss, dtype) for loss in self.losses), tf.zeros((), dtype))

    # Saving

    def save_own_variables(self, store: dict) -> None:
        """Saves the state of every seed generator, which Keras does not: resuming is exact."""
        for index, variable in enumerate(self._seed_states()):
            store[f"seed_generator_{index}"] = variable.numpy()

    def load_own_variables(self, store: dict) -> None:
        for index, variable in enumerate(self._seed_states()):
            variable.assign(store[f"seed_generator_{index}"])

    def _seed_states(self) -> list[keras.Variable]:
        return [v for v in self.variables if v.name == "seed_generator_state"]


def _as_list(callbacks: Any) -> list[keras.callbacks.Callback]:
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return list(callbacks.callbacks)
    return keras.tree.flatten(callbacks) if callbacks else []
