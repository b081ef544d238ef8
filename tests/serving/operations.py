"""The operator's files, read the way that the server reads them. Shared by the tests of them."""

import functools
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory, text_format
from google.protobuf.wrappers_pb2 import DESCRIPTOR as WRAPPERS
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

SERVING = Path(__file__).parents[2] / "serving"
COMPOSE: dict[str, Any] = yaml.safe_load((SERVING / "docker-compose.yml").read_text())
SERVER: dict[str, Any] = COMPOSE["services"]["tf-serving"]
CONFIG_FOLDER = "/etc/tf-serving/"

# The list of flags in tensorflow_serving/model_servers/main.cc.
FLAGS_OF_THE_SERVER = """
port grpc_socket_path rest_api_port rest_api_num_threads rest_api_timeout_in_ms
rest_api_enable_cors_support enable_batching allow_version_labels_for_unavailable_models
batching_parameters_file enable_per_model_batching_parameters model_config_file
model_config_file_poll_wait_seconds model_name model_base_path num_load_threads num_unload_threads
max_num_load_retries load_retry_interval_micros file_system_poll_wait_seconds
flush_filesystem_caches tensorflow_session_parallelism tensorflow_session_config_file
tensorflow_intra_op_parallelism tensorflow_inter_op_parallelism use_alts_credentials ssl_config_file
platform_config_file per_process_gpu_memory_fraction saved_model_tags grpc_channel_arguments
grpc_max_threads enable_model_warmup num_request_iterations_for_warmup version
monitoring_config_file remove_unused_fields_from_bundle_metagraph prefer_tflite_model
num_tflite_pools num_tflite_interpreters_per_pool enable_signature_method_name_check
xla_cpu_compilation_enabled xla_gpu_compilation_enabled enable_profiler
thread_pool_factory_config_file mixed_precision skip_initialize_tpu enable_grpc_healthcheck_service
enable_serialization_as_tensor_content
"""

# The messages that the package tensorflow-serving-api leaves out, from
# tensorflow_serving/servables/tensorflow/session_bundle_config.proto and
# tensorflow_serving/config/monitoring_config.proto. Text is parsed by the names of the fields.
MESSAGES = {
    "BatchingParameters": {
        "max_batch_size": "Int64Value",
        "batch_timeout_micros": "Int64Value",
        "max_enqueued_batches": "Int64Value",
        "num_batch_threads": "Int64Value",
        "thread_pool_name": "StringValue",
        "allowed_batch_sizes": "repeated int64",
        "pad_variable_length_inputs": "bool",
        "enable_large_batch_splitting": "BoolValue",
        "max_execution_batch_size": "Int64Value",
    },
    "PrometheusConfig": {"enable": "bool", "path": "string"},
    "MonitoringConfig": {"prometheus_config": "PrometheusConfig"},
}
KINDS = {"batching.config": "BatchingParameters", "monitoring.config": "MonitoringConfig"}


def flags(arguments: list[str]) -> dict[str, str]:
    """`--name=value` as a dictionary.

    Raises:
        ValueError: if an argument has another form, or a flag is given twice.
    """
    found: dict[str, str] = {}
    for argument in arguments:
        name, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or not equals or name in found:
            raise ValueError(f"Expected --name=value, each name once. Received: {argument}.")
        found[name] = value
    return found


def parse(file: str, text: str) -> Any:
    """The message in a text file of the server, whose kind follows from the file's name.

    Raises:
        google.protobuf.text_format.ParseError: if the text has an unknown field or a wrong value.
    """
    if file == "models.config":
        return text_format.Parse(text, ModelServerConfig())
    return text_format.Parse(text, _message(KINDS[file])())


def check_flags(given: dict[str, str]) -> None:
    """The server knows each flag: it would print the usage, and run without, or not at all."""
    assert set(given) <= set(FLAGS_OF_THE_SERVER.split())


def check_batching(batching: Any, given: dict[str, str]) -> None:
    """The rules of tensorflow_serving/batching/batching_session.cc and of the batching guide."""
    sizes = list(batching.allowed_batch_sizes)
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == batching.max_batch_size.value
    assert int(given["grpc_max_threads"]) >= 2 * batching.max_batch_size.value
    assert batching.num_batch_threads.value >= 1
    assert batching.max_enqueued_batches.value > batching.num_batch_threads.value
    assert not batching.pad_variable_length_inputs


@functools.cache
def _message(name: str) -> type[message.Message]:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(WRAPPERS.serialized_pb)
    pool.AddSerializedFile(_file().SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tensorflow.serving.{name}"))


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="operations.proto",
        package="tensorflow.serving",
        syntax="proto3",
        dependency=[WRAPPERS.name],
    )
    for name, fields in MESSAGES.items():
        described = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), 1):
            described.field.append(_field(field, number, kind))
    return file


def _field(name: str, number: int, kind: str) -> descriptor_pb2.FieldDescriptorProto:
    of = descriptor_pb2.FieldDescriptorProto
    scalars = {"int64": of.TYPE_INT64, "bool": of.TYPE_BOOL, "string": of.TYPE_STRING}
    label = of.LABEL_REPEATED if kind.startswith("repeated ") else of.LABEL_OPTIONAL
    kind = kind.removeprefix("repeated ")
    if kind in scalars:
        return of(name=name, number=number, label=label, type=scalars[kind])
    package = "tensorflow.serving" if kind in MESSAGES else "google.protobuf"
    full_name = f".{package}.{kind}"
    return of(name=name, number=number, label=label, type=of.TYPE_MESSAGE, type_name=full_name)
