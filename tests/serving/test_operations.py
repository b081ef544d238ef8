"""The operator's files on one machine: flags, text protos, compose, health check, metrics."""

import http.server
import importlib.util
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import text_format
from operations import (
    COMPOSE,
    CONFIG_FOLDER,
    SERVER,
    SERVING,
    check_batching,
    check_flags,
    flags,
    parse,
)

CONFIGS = ("models.config", "batching.config", "monitoring.config")
METRICS_PATH = "/monitoring/prometheus/metrics"

# What the server exports, with the labels of each metric: util.cc and saved_model_warmup_util.cc in
# tensorflow_serving/servables/tensorflow, tensorflow_serving/batching/batching_session.cc and
# tensorflow/cc/saved_model/loader.cc. tensorflow_serving/util/prometheus_exporter.cc turns "/" into
# ":" and writes a histogram as NAME_bucket (with the label `le`), NAME_sum and NAME_count.
HISTOGRAMS = {
    "/tensorflow/serving/request_latency": {"model_name", "API", "entrypoint"},
    "/tensorflow/serving/runtime_latency": {"model_name", "API", "runtime"},
    "/tensorflow/serving/batching_session/queuing_latency": {"thread_pool_name"},
    "/tensorflow/serving/model_warmup_latency": {"model_path", "status"},
}
COUNTERS: dict[str, set[str]] = {
    "/tensorflow/serving/request_count": {"model_name", "status"},
    "/tensorflow/serving/batching_session/wrapped_run_count": set(),
    "/tensorflow/cc/saved_model/load_attempt_count": {"model_path", "status"},
}


@pytest.mark.parametrize("file", CONFIGS)
def test_a_config_is_a_message_of_the_server(file: str) -> None:
    assert parse(file, (SERVING / file).read_text()).ByteSize() > 0


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("models.config", "base_path", "basepath"),
        ("models.config", "value: 1", 'value: "one"'),
        ("batching.config", "max_batch_size", "maximum_batch_size"),
        ("batching.config", "{ value: 256 }", ": 256"),
        ("batching.config", "allowed_batch_sizes: 64", "allowed_batch_sizes: 6.4"),
        ("monitoring.config", "enable: true", "enabled: true"),
    ],
)
def test_a_config_with_a_mistake_is_refused(file: str, old: str, new: str) -> None:
    text = (SERVING / file).read_text()
    lines = [
        line.replace(old, new) if line.strip()[:1] != "#" else line for line in text.split("\n")
    ]
    assert "\n".join(lines) != text
    with pytest.raises(text_format.ParseError):
        parse(file, "\n".join(lines))


def test_the_labels_stay_on_versions_that_are_loaded() -> None:
    (model,) = _config("models.config").model_config_list.config
    assert (model.name, model.base_path) == ("vae", "/models/vae")
    assert model.model_platform == "tensorflow"
    assert model.model_version_policy.WhichOneof("policy_choice") == "all"
    assert dict(model.version_labels) == {"stable": 1, "canary": 1}
    assert flags(SERVER["command"])["allow_version_labels_for_unavailable_models"] == "true"


def test_the_batches_obey_the_rules_of_the_server() -> None:
    check_batching(_config("batching.config"), flags(SERVER["command"]))


def test_the_metrics_have_one_path() -> None:
    monitoring = _config("monitoring.config").prometheus_config
    (job,) = yaml.safe_load((SERVING / "prometheus.yml").read_text())["scrape_configs"]
    assert monitoring.enable
    assert monitoring.path == job["metrics_path"] == METRICS_PATH
    (target,) = job["static_configs"][0]["targets"]
    service, _, port = target.partition(":")
    assert service in COMPOSE["services"]
    assert port == flags(SERVER["command"])["rest_api_port"]


def test_the_flags_are_flags_of_the_server() -> None:
    check_flags(flags(SERVER["command"]))
    with pytest.raises(AssertionError):
        check_flags({"enable_batches": "true"})


def test_the_config_files_are_where_the_flags_say() -> None:
    given = {value for name, value in flags(SERVER["command"]).items() if name.endswith("_file")}
    assert given == {CONFIG_FOLDER + file for file in CONFIGS}
    assert f".:{CONFIG_FOLDER.rstrip('/')}:ro" in SERVER["volumes"]
    assert "${MODELS:-../models}:/models:ro" in SERVER["volumes"]


def test_both_ports_are_published_to_this_machine_only() -> None:
    given = flags(SERVER["command"])
    expected = [f"${{BIND:-127.0.0.1}}:{port}:{port}" for port in (given["port"], "8501")]
    assert SERVER["ports"] == expected
    assert given["rest_api_port"] == "8501"


def test_every_image_is_pinned_to_a_release() -> None:
    for service in COMPOSE["services"].values():
        assert re.fullmatch(r"[\w/-]+:v?\d+\.\d+\.\d+", service["image"])


def test_the_server_runs_without_the_monitoring() -> None:
    started = {name for name, service in COMPOSE["services"].items() if "profiles" not in service}
    assert started == {"tf-serving"}
    assert {"prometheus", "grafana"} < set(COMPOSE["services"])


def test_every_mounted_file_exists() -> None:
    mounts = [mount for service in COMPOSE["services"].values() for mount in service["volumes"]]
    sources = [mount.split(":")[0] for mount in mounts if mount.startswith(".")]
    assert len(sources) == 4
    assert all((SERVING / source).exists() for source in sources)


@pytest.mark.parametrize("change", [{}, {"helthcheck": {}}, {"ports": {"grpc": 8500}}])
def test_the_compose_file_follows_its_schema(change: dict[str, Any], tmp_path: Path) -> None:
    if importlib.util.find_spec("check_jsonschema") is None:
        pytest.skip("The schema of compose files is missing: pip install check-jsonschema.")
    file = tmp_path / "docker-compose.yml"
    changed = {**SERVER, **change}
    services = {**COMPOSE["services"], "tf-serving": changed}
    file.write_text(yaml.safe_dump({**COMPOSE, "services": services}))
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*check, str(file)], capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == (not change), done.stdout + done.stderr


@pytest.fixture
def status() -> Iterator[tuple[dict[str, Any], int]]:
    """A server whose answer to GET /v1/models/vae is in the dictionary, and its port."""
    answer: dict[str, Any] = {"code": 200, "body": ""}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            right = self.path == "/v1/models/vae"
            self.send_response(answer["code"] if right else 404)
            self.end_headers()
            self.wfile.write(answer["body"].encode())

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    yield answer, server.server_port
    server.shutdown()
    server.server_close()


def run_health_check(command: list[str], port: int) -> bool:
    """Whether the command calls the server on `port` healthy."""
    assert "/127.0.0.1/8501 " in command[-1]
    changed = command[-1].replace("/8501 ", f"/{port} ")
    done = subprocess.run([*command[:-1], changed], capture_output=True, timeout=20, check=False)
    return done.returncode == 0


# As tensorflow_serving/model_servers/http_rest_api_handler.cc prints them.
STATUS = """{{
 "model_version_status": [
  {{
   "version": "1",
   "state": "{state}",
   "status": {{
    "error_code": "OK",
    "error_message": ""
   }}
  }}
 ]
}}
"""


@pytest.mark.parametrize(
    ("code", "body", "healthy"),
    [
        (200, STATUS.format(state="AVAILABLE"), True),
        (200, STATUS.format(state="LOADING"), False),
        (200, STATUS.format(state="END"), False),
        (404, '{"error": "Could not find any versions of model vae"}', False),
        (404, '{"error": "Malformed request: GET AVAILABLE"}', False),
    ],
)
def test_healthy_means_a_version_is_available(
    status: tuple[dict[str, Any], int], code: int, body: str, healthy: bool
) -> None:
    answer, port = status
    answer.update(code=code, body=body)
    mode, *command = SERVER["healthcheck"]["test"]
    assert mode == "CMD"
    assert run_health_check(command, port) == healthy


def test_a_closed_port_is_not_healthy() -> None:
    with socket.socket() as bound:  # taken, so nobody else's, but not listened to
        bound.bind(("127.0.0.1", 0))
        assert not run_health_check(SERVER["healthcheck"]["test"][1:], bound.getsockname()[1])


def test_the_dashboard_shows_what_the_server_exports() -> None:
    labels = _exported_labels()
    expressions = [target["expr"] for panel in _panels() for target in panel["targets"]]
    assert len(expressions) > 10
    for expression in expressions:
        names = re.findall(r":tensorflow[:\w]+", expression)
        assert names, expression
        used = re.findall(r"(\w+)=~?\"", expression)
        used += [
            name for by in re.findall(r"by \(([^)]*)\)", expression) for name in by.split(", ")
        ]
        for name in names:
            assert name in labels, expression
            assert set(used) <= labels[name], expression


def test_every_panel_of_the_dashboard_explains_itself() -> None:
    assert all(len(panel["description"]) > 40 for panel in _panels())
    assert len({panel["id"] for panel in _panels()}) == len(_panels())


def test_grafana_finds_the_dashboard_and_prometheus() -> None:
    provisioning = SERVING / "grafana" / "provisioning"
    (source,) = _yaml(provisioning / "datasources" / "prometheus.yml")["datasources"]
    (provider,) = _yaml(provisioning / "dashboards" / "dashboards.yml")["providers"]
    mounts = COMPOSE["services"]["grafana"]["volumes"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in mounts
    assert source["url"] == "http://prometheus:9090"


def _config(file: str) -> Any:
    return parse(file, (SERVING / file).read_text())


def _yaml(file: Path) -> Any:
    return yaml.safe_load(file.read_text())


def _panels() -> list[dict[str, Any]]:
    file = SERVING / "grafana" / "dashboards" / "tf-serving.json"
    panels: list[dict[str, Any]] = json.loads(file.read_text())["panels"]
    return panels


def _exported_labels() -> dict[str, set[str]]:
    exported = {name.replace("/", ":"): labels for name, labels in COUNTERS.items()}
    for name, labels in HISTOGRAMS.items():
        prometheus = name.replace("/", ":")
        exported[f"{prometheus}_bucket"] = labels | {"le"}
        exported[f"{prometheus}_sum"] = exported[f"{prometheus}_count"] = labels
    return exported
