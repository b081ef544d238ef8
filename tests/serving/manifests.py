"""The Kubernetes files, read and built. Shared by the tests of them."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from operations import SERVING

FOLDER = SERVING / "kubernetes"
VERSIONS = ("1.27", kubernetes_validate.latest_version())

Document = dict[str, Any]


def read(file: Path) -> Document:
    document: Document = yaml.safe_load(file.read_text())
    return document


def build(folder: Path) -> list[Document]:
    """The documents that `kubectl apply -k` would send."""
    done = run_kustomize(folder)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def run_kustomize(folder: Path) -> subprocess.CompletedProcess[str]:
    """What builds the documents; skips the test where there is no such tool."""
    for tool, *arguments in (["kubectl", "kustomize"], ["kustomize", "build"]):
        if shutil.which(tool):
            command = [tool, *arguments, str(folder)]
            return subprocess.run(command, capture_output=True, text=True, check=False)
    pytest.skip("kubectl (1.22 or newer) or kustomize is missing: the overlays were not built.")


def one(documents: list[Document], kind: str) -> Document:
    (found,) = (document for document in documents if document["kind"] == kind)
    return found
