"""The image, the cluster on one machine, and the Kubernetes manifests."""

import re
import tomllib

import pytest

from activities.requests import NOTICE_QUEUE, TASK_QUEUE
from temporal import embedded
from tests.deploy import DEPLOY, IMAGE, ROOT, compose, mentioned, of_kind, passes, pods
from worker import SHUTDOWN_GRACE

STANDARD = {
    *("TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE", "TEMPORAL_API_KEY"),
    *("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_SERVICE_NAME"),
}
"""Settings of Temporal's SDK and of OpenTelemetry, which are not ours to name."""

NEEDS_MORE = {"autoscaling.yaml", "secret.example.yaml"}
"""Manifests that are optional, or only an example."""


def test_every_setting_is_one_that_somebody_reads() -> None:
    """What our containers are given, the code or the documentation knows by that name."""
    given = {
        name
        for service in compose().values()
        if service.get("image") in IMAGE
        for name in service["environment"]
    }
    for _, pod in pods():
        for container in pod["spec"]["containers"]:
            given |= {variable["name"] for variable in container.get("env", ())}
    for found in of_kind("ConfigMap", "Secret"):
        given |= {*found.get("data", ()), *found.get("stringData", ())}
    given |= set(re.findall(r"\bRECOURSE_\w+(?==)", (DEPLOY / "Dockerfile").read_text()))
    rooms = ("worker.py", "activities", "starter", "temporal", "workflows", "workroom")
    code = [ROOT / name for name in rooms]
    read = mentioned(r"\b(?:RECOURSE|STRIPE)_[A-Z_]+\b", *code)
    assert given - read - STANDARD == set()


def test_every_queue_is_one_of_ours() -> None:
    """Alerts, dashboard and scaling name queues that workers serve."""
    assert mentioned(rf"\b{TASK_QUEUE}[\w-]*", DEPLOY) == {TASK_QUEUE, NOTICE_QUEUE}


# --- the image


def test_the_image_is_made_as_hadolint_would() -> None:
    """No warning."""
    passes("hadolint", "Dockerfile")


def test_the_image_is_made_of_what_is_there() -> None:
    """Each copied path exists and is not ignored; together they are all that the wheel needs."""
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line.removeprefix("!") for line in ignore if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "Dockerfile").read_text(), re.M)
    sources = {source for line in copied for source in line.split()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = {name.removesuffix("*") for name in project["packages"]["find"]["include"]}
    assert sources == allowed
    assert all((ROOT / source).exists() for source in sources)
    assert packages | {f"{name}.py" for name in project["py-modules"]} <= sources


# --- the cluster on one machine


def test_the_compose_file_is_one() -> None:
    """By the specification's own schema."""
    passes("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml")


@pytest.mark.parametrize("name", compose())
def test_a_service_is_confined_and_watched(name: str) -> None:
    """Nothing to write to but its volumes, no capability, nothing reachable from outside; and
    somebody sees whether it is well, or waits until it is done."""
    service = compose()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    done = {"condition": "service_completed_successfully"}
    once = any(each.get("depends_on", {}).get(name) == done for each in compose().values())
    assert once or "healthcheck" in service or service["image"] in IMAGE


def test_every_file_that_is_mounted_is_there() -> None:
    """A missing one would become an empty folder."""
    mounts = [mount for service in compose().values() for mount in service.get("volumes", ())]
    sources = {mount.split(":")[0] for mount in mounts if mount.startswith(".")}
    assert sources
    assert all((DEPLOY / source).exists() for source in sources)


def test_the_example_of_an_environment_is_the_one_that_is_asked_for() -> None:
    """No variable is missing, none is idle."""
    given = set(re.findall(r"^(\w+)=", (DEPLOY / "example.env").read_text(), re.M))
    asked = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))
    assert given == asked


def test_the_cluster_runs_the_server_that_the_tests_run() -> None:
    """Server, its tools and the Web UI have the versions of the embedded one."""
    found = re.search(r"Server ([\d.]+), UI ([\d.]+)", passes(embedded.binary(), "--version"))
    assert found
    server, ui = found.groups()
    images = {service["image"] for service in compose().values()}
    assert {image for image in images if image.startswith("temporalio/")} == {
        f"temporalio/server:{server}",
        f"temporalio/admin-tools:{server}",
        f"temporalio/ui:{ui}",
    }


# --- Kubernetes


def test_every_manifest_is_one() -> None:
    """By the strict schemas of Kubernetes; what is KEDA's has none there."""
    folder = DEPLOY / "kubernetes"
    names = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}
    ours = sorted(names - {"autoscaling.yaml"})
    passes("kubernetes-validate", "--strict", "--quiet", *ours, cwd=folder)
    (kustomization,) = of_kind("Kustomization")
    listed = set(kustomization["resources"])
    assert listed == names - NEEDS_MORE


WORKLOADS = {workload["metadata"]["name"]: workload for workload, _ in pods()}


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_pod_may_do_nothing_that_it_need_not(name: str) -> None:
    """As the namespace demands, and more: a read-only root, no token, no limit unsaid."""
    workload = WORKLOADS[name]
    pod = workload["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert container["image"] in IMAGE
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert set(container["resources"]) == {"requests", "limits"}
        if workload["kind"] == "Deployment":
            assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container)


def test_what_a_pod_is_given_is_there() -> None:
    """Each key of each secret and settings that a container asks for."""
    kept = {
        (found["kind"], found["metadata"]["name"]): found.get("data") or found["stringData"]
        for found in of_kind("ConfigMap", "Secret")
    }
    for _, pod in pods():
        for container in pod["spec"]["containers"]:
            for source in container.get("envFrom", ()):
                for kind, reference in source.items():
                    found = {"configMapRef": "ConfigMap", "secretRef": "Secret"}[kind]
                    assert (found, reference["name"]) in kept
            for variable in container.get("env", ()):
                if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                    assert reference["key"] in kept["Secret", reference["name"]]
                    assert reference["key"] == variable["name"]


def test_every_selector_finds_a_pod() -> None:
    """Of deployments, services, budgets and network policies."""
    labels = [pod["metadata"]["labels"] for _, pod in pods()]
    for found in of_kind("Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"):
        spec = found["spec"]
        selector = spec.get("selector") or spec.get("podSelector") or {}
        wanted = selector.get("matchLabels", selector if found["kind"] == "Service" else {})
        named = [each["values"] for each in selector.get("matchExpressions", ())]
        assert any(wanted.items() <= each.items() for each in labels), found["metadata"]
        for name in (name for names in named for name in names):
            assert any(each["app.kubernetes.io/name"] == name for each in labels), name


def test_a_worker_is_given_the_time_it_drains_in() -> None:
    """Longer than its own time limit, wherever it runs."""
    drains = SHUTDOWN_GRACE.total_seconds()
    workers = [pod for _, pod in pods() if pod["spec"]["containers"][0]["args"] == ["worker"]]
    assert len(workers) == 2
    assert all(pod["spec"]["terminationGracePeriodSeconds"] > drains for pod in workers)
    assert int(compose()["worker"]["stop_grace_period"].removesuffix("s")) > drains


def test_both_queues_have_workers() -> None:
    """Money and notices: more than one worker each, and scaling never goes below."""
    served = {}
    for workload in of_kind("Deployment"):
        container = workload["spec"]["template"]["spec"]["containers"][0]
        for variable in container.get("env", ()):
            if variable["name"] == "RECOURSE_QUEUES":
                served[workload["metadata"]["name"]] = workload["spec"]["replicas"]
                assert variable["value"] in workload["metadata"]["name"]
    assert set(served) == {"recourse-money", "recourse-notices"}
    assert all(replicas > 1 for replicas in served.values())
    for scaled in of_kind("ScaledObject"):
        assert scaled["spec"]["minReplicaCount"] == served[scaled["spec"]["scaleTargetRef"]["name"]]


def test_no_example_of_a_secret_is_one() -> None:
    """All of them say so themselves."""
    secrets = of_kind("Secret")
    assert secrets
    for secret in secrets:
        assert all("change-me" in value for value in secret["stringData"].values())
    example = (DEPLOY / "example.env").read_text()
    passwords = re.findall(r"^\w+_PASSWORD=(.*)$", example, re.M)
    assert passwords
    assert all(value.startswith("example-only-") for value in passwords)
