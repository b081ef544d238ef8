"""The Kubernetes files: valid, in agreement with each other and with docker-compose.yml."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from manifests import FOLDER, VERSIONS, Document, build, one, read, run_kustomize
from operations import CONFIG_FOLDER, SERVER, SERVING, check_batching, check_flags, flags, parse

BASE = FOLDER / "base"
GPU = FOLDER / "overlays" / "gpu"
CONFIGS = ("batching.config", "models.config", "monitoring.config")
# Only where the cores of the container are fewer than those of the machine.
ONLY_IN_CLUSTERS = {"tensorflow_intra_op_parallelism", "tensorflow_inter_op_parallelism"}


@pytest.fixture(scope="module", params=["base", "overlays/gpu"])
def built(request: pytest.FixtureRequest) -> list[Document]:
    return build(FOLDER / request.param)


def resources() -> list[Document]:
    return [read(BASE / file) for file in read(BASE / "kustomization.yaml")["resources"]]


def pod(documents: list[Document]) -> Document:
    found: Document = one(documents, "Deployment")["spec"]["template"]["spec"]
    return found


def container(documents: list[Document]) -> Document:
    (found,) = pod(documents)["containers"]
    return dict(found)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "document", [*resources(), read(FOLDER / "models-claim.yaml")], ids=lambda found: found["kind"]
)
def test_a_file_follows_the_kubernetes_schema(document: Document, version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_applied_follows_the_kubernetes_schema(built: list[Document], version: str) -> None:
    assert len(built) == 6
    for document in built:
        kubernetes_validate.validate(document, version, strict=True)


def _set(*path: Any, value: Any) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = value

    return change


CONTAINER = ("spec", "template", "spec", "containers", 0)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("Deployment", _set("spec", "replica", value=2)),
        ("Deployment", _set(*CONTAINER, "livenessProbe", "grpc", "port", value="grpc")),
        ("Deployment", _set(*CONTAINER, "readinessProbe", "exec", "command", value="bash")),
        ("Deployment", _set(*CONTAINER, "securityContext", "readOnlyRootFileSystem", value=True)),
        ("Deployment", _set("spec", "selector", value="tf-serving")),
        ("Service", _set("spec", "ports", 0, "port", value="8500")),
        ("Service", _set("metadata", "annotations", "prometheus.io/scrape", value=True)),
        ("HorizontalPodAutoscaler", _set("spec", "behaviour", value={})),
        ("HorizontalPodAutoscaler", _set("spec", "scaleTargetRef", value={"name": "tf-serving"})),
        ("PodDisruptionBudget", _set("spec", "selector", value={"app": "tf-serving"})),
    ],
)
def test_a_document_with_a_mistake_is_refused(
    kind: str, change: Callable[[Document], None]
) -> None:
    document = copy.deepcopy(one(resources(), kind))
    change(document)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, VERSIONS[-1], strict=True)


def test_an_api_that_is_gone_is_refused() -> None:
    old = {**one(resources(), "PodDisruptionBudget"), "apiVersion": "policy/v1beta1"}
    with pytest.raises(kubernetes_validate.SchemaNotFoundError):
        kubernetes_validate.validate(old, VERSIONS[-1], strict=True)


def test_every_selector_finds_the_pods(built: list[Document]) -> None:
    deployment = one(built, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    assert one(built, "Service")["spec"]["selector"].items() <= labels
    (spread,) = pod(built)["topologySpreadConstraints"]
    for holder in (deployment["spec"], one(built, "PodDisruptionBudget")["spec"], spread):
        selector = holder["selector"] if "selector" in holder else holder["labelSelector"]
        assert selector["matchLabels"].items() <= labels
    target = one(built, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    name = deployment["metadata"]["name"]
    assert target == {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}


def test_the_autoscaler_alone_sets_the_number_of_replicas(built: list[Document]) -> None:
    assert "replicas" not in one(built, "Deployment")["spec"]
    bounds = one(built, "HorizontalPodAutoscaler")["spec"]
    assert 2 <= bounds["minReplicas"] < bounds["maxReplicas"]


def test_the_ports_have_one_name_and_one_number(built: list[Document]) -> None:
    given = flags(container(built)["args"])
    ports = {port["name"]: port["containerPort"] for port in container(built)["ports"]}
    assert ports == {"grpc": int(given["port"]), "rest": int(given["rest_api_port"])}
    service = one(built, "Service")
    for port in service["spec"]["ports"]:
        assert (port["targetPort"], port["port"]) == (port["name"], ports[port["name"]])
    assert len(service["spec"]["ports"]) == len(ports)
    for probe in ("startupProbe", "livenessProbe"):
        assert container(built)[probe]["grpc"]["port"] == ports["grpc"]
    assert given["enable_grpc_healthcheck_service"] == "true"
    annotations = service["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(ports["rest"])


def test_the_metrics_have_the_path_of_the_annotation(built: list[Document]) -> None:
    monitoring = parse("monitoring.config", _configs(built)["monitoring.config"])
    annotations = one(built, "Service")["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] == monitoring.prometheus_config.path


def test_readiness_is_the_health_check_of_compose(built: list[Document]) -> None:
    probe = container(built)["readinessProbe"]
    assert probe["exec"]["command"] == SERVER["healthcheck"]["test"][1:]


def test_the_cluster_has_the_flags_of_compose() -> None:
    given = flags(container(resources())["args"])
    check_flags(given)
    assert set(given) - set(flags(SERVER["command"])) == ONLY_IN_CLUSTERS
    assert {name: given[name] for name in flags(SERVER["command"])} == flags(SERVER["command"])
    assert container(resources())["command"] == SERVER["entrypoint"]


def test_the_image_is_that_of_compose(built: list[Document]) -> None:
    name, _, tag = SERVER["image"].partition(":")
    gpu = "nvidia.com/gpu" in container(built)["resources"]["limits"]
    assert container(built)["image"] == f"{name}:{tag}{'-gpu' if gpu else ''}"


@pytest.mark.parametrize("file", CONFIGS)
def test_the_cluster_has_the_configs_of_compose(file: str) -> None:
    assert parse(file, (BASE / file).read_text()) == parse(file, (SERVING / file).read_text())


def test_the_config_files_are_where_the_flags_say(built: list[Document]) -> None:
    given = flags(container(built)["args"])
    wanted = {value for name, value in given.items() if name.endswith("_file")}
    assert wanted == {CONFIG_FOLDER + file for file in _configs(built)}
    mounts = {mount["mountPath"]: mount for mount in container(built)["volumeMounts"]}
    assert mounts[CONFIG_FOLDER.rstrip("/")]["name"] == "config"
    (model,) = parse("models.config", _configs(built)["models.config"]).model_config_list.config
    (models,) = (mount for path, mount in mounts.items() if model.base_path.startswith(f"{path}/"))
    assert models["readOnly"]
    claim = _volume(built, models["name"])["persistentVolumeClaim"]
    assert claim["claimName"] == read(FOLDER / "models-claim.yaml")["metadata"]["name"]


def test_labels_move_without_a_restart_and_batching_does_not(built: list[Document]) -> None:
    names = {tuple(sorted(found["data"])): found["metadata"]["name"] for found in _maps(built)}
    assert names[("models.config",)] == "tf-serving-models"
    hashed = names[("batching.config", "monitoring.config")]
    assert hashed.startswith("tf-serving-start-")


def test_the_batches_obey_the_rules_of_the_server(built: list[Document]) -> None:
    batching = parse("batching.config", _configs(built)["batching.config"])
    check_batching(batching, flags(container(built)["args"]))


def test_there_are_as_many_threads_as_cores() -> None:
    given = flags(container(resources())["args"])
    asked = container(resources())["resources"]
    threads = parse("batching.config", (BASE / "batching.config").read_text()).num_batch_threads
    assert asked["requests"] == asked["limits"]
    for count in (given[name] for name in ONLY_IN_CLUSTERS):
        assert int(count) == threads.value == int(asked["limits"]["cpu"])


def test_a_pod_outlives_the_requests_that_it_has(built: list[Document]) -> None:
    given = flags(container(built)["args"])
    command, seconds = container(built)["lifecycle"]["preStop"]["exec"]["command"]
    name, _, age = given["grpc_channel_arguments"].partition("=")
    assert (command, name) == ("sleep", "grpc.max_connection_age_ms")
    assert int(seconds) > int(given["rest_api_timeout_in_ms"]) / 1000
    assert int(seconds) > 1.1 * int(age) / 1000  # gRPC adds up to a tenth
    assert pod(built)["terminationGracePeriodSeconds"] > int(seconds)
    assert pod(built)["shareProcessNamespace"]


def test_the_startup_probe_waits_for_every_try_to_load(built: list[Document]) -> None:
    probe = container(built)["startupProbe"]
    tries, interval = 5, 60  # the defaults of max_num_load_retries and load_retry_interval_micros
    assert probe["failureThreshold"] * probe["periodSeconds"] > tries * interval
    assert one(built, "Deployment")["spec"]["progressDeadlineSeconds"] > 600


def test_the_server_may_do_nothing_but_serve(built: list[Document]) -> None:
    assert pod(built)["securityContext"]["runAsNonRoot"]
    assert not pod(built)["automountServiceAccountToken"]
    security = container(built)["securityContext"]
    assert not security["allowPrivilegeEscalation"]
    assert security["readOnlyRootFilesystem"]
    assert security["capabilities"] == {"drop": ["ALL"]}


def test_the_gpu_overlay_asks_for_a_gpu_and_batches_for_it() -> None:
    documents = build(GPU)
    asked = container(documents)["resources"]
    assert asked["limits"]["nvidia.com/gpu"] == asked["requests"]["nvidia.com/gpu"] == "1"
    nodes = pod(documents)["nodeSelector"]
    assert nodes == {"kubernetes.io/arch": "amd64", "nvidia.com/gpu.present": "true"}
    (toleration,) = pod(documents)["tolerations"]
    assert toleration["key"] == "nvidia.com/gpu"
    rollout = one(documents, "Deployment")["spec"]["strategy"]["rollingUpdate"]
    assert rollout == {"maxSurge": 0, "maxUnavailable": 1}
    batching = parse("batching.config", _configs(documents)["batching.config"])
    assert batching == parse("batching.config", (GPU / "batching.config").read_text())
    assert batching.max_batch_size.value > 256


def test_the_gpu_overlay_keeps_the_other_flags() -> None:
    given, base = (flags(container(build(folder))["args"]) for folder in (GPU, BASE))
    assert int(given.pop("grpc_max_threads")) > int(base.pop("grpc_max_threads"))
    assert given == base


def test_the_gpu_overlay_refuses_a_base_whose_flags_have_moved(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "kubernetes")
    deployment = tmp_path / "kubernetes" / "base" / "deployment.yaml"
    text = deployment.read_text()
    deployment.write_text(text.replace("            - --num_load_threads=2\n", ""))
    done = run_kustomize(tmp_path / "kubernetes" / "overlays" / "gpu")
    assert done.returncode != 0
    assert "test" in done.stderr


def _maps(documents: list[Document]) -> list[Document]:
    return [document for document in documents if document["kind"] == "ConfigMap"]


def _volume(documents: list[Document], name: str) -> Document:
    (found,) = (volume for volume in pod(documents)["volumes"] if volume["name"] == name)
    return dict(found)


def _configs(documents: list[Document]) -> dict[str, str]:
    """The files in the folder that the volume `config` mounts."""
    data = {found["metadata"]["name"]: found["data"] for found in _maps(documents)}
    sources = _volume(documents, "config")["projected"]["sources"]
    return {
        file: text for source in sources for file, text in data[source["configMap"]["name"]].items()
    }
