"""The training job: valid, its names and numbers agree, and the command line takes its words."""

import re

import kubernetes_validate
import pytest
from manifests import FOLDER, VERSIONS, Document, build, one, read

from keras_vae.cli_train import train_command
from keras_vae.workers import workers_of

TRAINING = FOLDER / "training"
CLAIM = read(FOLDER / "runs-claim.yaml")


@pytest.fixture(scope="module")
def built() -> list[Document]:
    return build(TRAINING)


def documents() -> list[Document]:
    return [read(TRAINING / file) for file in read(TRAINING / "kustomization.yaml")["resources"]]


JOB = one(documents(), "Job")
POD: Document = JOB["spec"]["template"]["spec"]
(WORKER,) = POD["containers"]
WORDS = dict(argument.removeprefix("--").split("=", 1) for argument in WORKER["args"])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("document", [*documents(), CLAIM], ids=lambda found: found["kind"])
def test_a_file_follows_the_kubernetes_schema(document: Document, version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_applied_follows_the_kubernetes_schema(built: list[Document], version: str) -> None:
    assert sorted(document["kind"] for document in built) == ["Job", "Service"]
    for document in built:
        kubernetes_validate.validate(document, version, strict=True)


def test_every_worker_of_the_job_is_in_the_list_under_its_pod_s_name() -> None:
    name, service = JOB["metadata"]["name"], one(documents(), "Service")
    count = JOB["spec"]["completions"]
    (port,) = (found["containerPort"] for found in WORKER["ports"])
    assert JOB["spec"]["completionMode"] == "Indexed"
    assert JOB["spec"]["parallelism"] == count
    assert POD["subdomain"] == service["metadata"]["name"]
    expected = tuple(f"{name}-{index}.{POD['subdomain']}:{port}" for index in range(count))
    for index in range(count):
        workers = workers_of(WORDS["workers"], index)
        assert workers is not None
        assert workers.addresses == expected


def test_the_service_names_the_pods_before_they_are_ready() -> None:
    service = one(documents(), "Service")["spec"]
    labels = JOB["spec"]["template"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()
    assert service["clusterIP"] == "None"
    assert service["publishNotReadyAddresses"]
    (spread,) = POD["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"].items() <= labels.items()
    (port,) = service["ports"]
    assert port["targetPort"] == WORKER["ports"][0]["name"]
    assert port["port"] == WORKER["ports"][0]["containerPort"]


def test_the_command_line_takes_the_words_of_the_job() -> None:
    assert WORKER["command"] == ["keras-vae", "train"]
    assert WORDS["worker-index"] == "$(JOB_COMPLETION_INDEX)"
    arguments = [re.sub(r"\$\(JOB_COMPLETION_INDEX\)", "1", word) for word in WORKER["args"]]
    taken = train_command.make_context("train", arguments).params
    assert (taken["worker_index"], taken["data"]) == (1, WORDS["data"])
    assert taken["batch_size"] % JOB["spec"]["completions"] == 0


def test_a_worker_that_dies_comes_back_and_finds_the_run() -> None:
    assert POD["restartPolicy"] == "OnFailure"
    assert JOB["spec"]["backoffLimit"] >= 10 * JOB["spec"]["completions"]
    mounts = {mount["name"]: mount["mountPath"] for mount in WORKER["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in POD["volumes"]}
    assert WORDS["run"].startswith(f"{mounts['runs']}/")
    claim = volumes["runs"]["persistentVolumeClaim"]["claimName"]
    assert claim == CLAIM["metadata"]["name"]
    assert CLAIM["spec"]["accessModes"] == ["ReadWriteMany"]
    assert "--overwrite" not in WORKER["args"]


def test_there_are_as_many_threads_as_cores() -> None:
    given = {found["name"]: found["value"] for found in WORKER["env"]}
    asked = WORKER["resources"]
    assert asked["requests"] == asked["limits"]
    assert given["TF_NUM_INTRAOP_THREADS"] == given["TF_NUM_INTEROP_THREADS"]
    assert given["TF_NUM_INTRAOP_THREADS"] == asked["limits"]["cpu"]


def test_a_worker_may_do_nothing_but_train() -> None:
    assert POD["securityContext"]["runAsNonRoot"]
    assert not POD["automountServiceAccountToken"]
    security = WORKER["securityContext"]
    assert not security["allowPrivilegeEscalation"]
    assert security["readOnlyRootFilesystem"]
    assert security["capabilities"] == {"drop": ["ALL"]}
