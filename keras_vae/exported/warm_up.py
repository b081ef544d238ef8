"""The requests that a server answers before a version takes traffic."""

from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from keras_vae.exported.examples import Case

FILE = "tf_serving_warmup_requests"  # the name that TensorFlow Serving looks for


def write_warm_up(folder: Path, cases: dict[str, Case]) -> None:
    """Writes a request of each signature: the first real one then meets a graph that is ready.

    A server rejects a version whose warm-up fails, so these are ones that were answered.
    """
    with tf.io.TFRecordWriter(str(folder / FILE)) as writer:
        for name, case in cases.items():
            log = prediction_log_pb2.PredictionLog(
                predict_log=prediction_log_pb2.PredictLog(request=_request(name, case))
            )
            writer.write(log.SerializeToString())


def _request(name: str, case: Case) -> predict_pb2.PredictRequest:
    # Without the model's name: the server knows which it is loading.
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = name
    for key, value in case.inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    return request
