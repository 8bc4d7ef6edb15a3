"""The Helm chart: valid, and its pods run as the services of docker-compose.yml do."""

from __future__ import annotations

import functools
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.doctor.variables import known_variables
from app.kit.secret_files import is_secret
from app.kit.settings import Settings
from tests.chart import CHART, ROOT, VALUES, environment, helm, of_kind, pods, rendered, templates
from tests.compose import load

EACH = pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
SERVICES = load("docker-compose.yml")["services"]
#: The settings that have secrets, as files.
SECRET = {
    f"DSPT_{name.upper()}" for name, field in Settings.model_fields.items() if is_secret(field)
}
#: What accepts requests.
SERVERS = {"dspt-api", "dspt-predict"}
S3_KEY = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


def of(name: str) -> tuple[dict[str, Any], ...]:
    return rendered(VALUES[0].with_name(f"{name}.yaml"))


def service(name: str) -> dict[str, Any]:
    """The service of docker-compose.yml that the pods of this name are."""
    [found] = {"api", "worker", "migrate"} & set(name.replace("predict", "api").split("-"))
    described: dict[str, Any] = SERVICES[found]
    return described


def bytes_of(quantity: str) -> int:
    number, unit = re.fullmatch(r"(\d+)([GM])i", quantity).groups()  # type: ignore[union-attr]
    return int(number) * {"G": 1024**3, "M": 1024**2}[unit]


@EACH
def test_lint_is_content(values: Path) -> None:
    result = helm("lint", "--strict", str(CHART), "--values", str(values))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(scope="module")
def validation() -> Iterator[Any]:
    """kubernetes_validate, which reads the large schemas for each object, unless they are kept."""
    package = pytest.importorskip("kubernetes_validate")
    with pytest.MonkeyPatch.context() as patch:
        kept = functools.cache(package.utils.schema_contents)
        patch.setattr(package.utils, "schema_contents", kept)
        yield package


@EACH
def test_kubernetes_knows_every_key(values: Path, validation: Any) -> None:
    names = set()
    for one in rendered(values):
        if not one["apiVersion"].startswith("keda.sh/"):  # see test_keda.py
            validation.validate(one, "1.37", strict=True)
        names.add((one["kind"], one["metadata"]["name"]))
    assert len(names) == len(rendered(values))  # one would replace the other


def test_a_misspelt_key_of_kubernetes_is_found(validation: Any) -> None:
    budget = of_kind(of("defaults"), "PodDisruptionBudget")["dspt-api"]
    wrong = {**budget, "spec": {**budget["spec"], "maxUnavailble": 1}}
    with pytest.raises(validation.ValidationError, match="maxUnavailble"):
        validation.validate(wrong, "1.37", strict=True)


def test_no_setting_of_the_chart_can_be_overridden() -> None:
    """Those that the pods have get their values from the chart, so `settings` refuses them."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    refused = re.compile(schema["properties"]["settings"]["propertyNames"]["not"]["pattern"])
    values = yaml.safe_load(VALUES[0].with_name("aws.yaml").read_text())
    fixed = {name for pod in pods(of("aws")).values() for name in environment(pod)}
    fixed -= set(values["settings"])
    # The first is a default, the second refused by a template if there are workers.
    fixed -= {"DSPT_LOG_FORMAT", "DSPT_POOLS"}
    # Pods are what is scaled, and the space for uploads is one process's.
    for name in SECRET | fixed | {"DSPT_DATA_DIR", "DSPT_NO_AUTH", "DSPT_API_WORKERS"}:
        assert refused.search(name), name
    assert not refused.search("DSPT_DATABASE_POOL_SIZE")


def test_the_api_forwards_predictions_to_the_pods_that_make_them() -> None:
    found = pods(of("aws"))
    api, predict = environment(found["dspt-api"]), environment(found["dspt-predict"])
    [port] = of_kind(of("aws"), "Service")["dspt-predict"]["spec"]["ports"]
    assert api["DSPT_ROLE"] == "api"
    assert api["DSPT_PREDICT_URL"] == f"http://dspt-predict:{port['port']}"
    assert predict["DSPT_ROLE"] == "predict"
    assert found["dspt-predict"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    [rule] = of_kind(of("aws"), "NetworkPolicy")["dspt-predict"]["spec"]["ingress"]
    caller = rule["from"][0]["podSelector"]["matchLabels"]
    assert caller.items() <= templates(of("aws"))["dspt-api"]["metadata"]["labels"].items()
    alone = pods(of("defaults"))
    assert "dspt-predict" not in alone
    assert "DSPT_ROLE" not in environment(alone["dspt-api"])


@EACH
def test_every_variable_is_a_setting(values: Path) -> None:
    known = known_variables() | S3_KEY | {"HF_HUB_OFFLINE"}
    for name, pod in pods(rendered(values)).items():
        assert set(environment(pod)) <= known, name


@EACH
def test_secrets_come_from_secrets(values: Path) -> None:
    for name, pod in pods(rendered(values)).items():
        variables = environment(pod)
        assert not SECRET & set(variables), name
        assert {v for v, value in variables.items() if value is None} <= S3_KEY
        [container] = pod["containers"]
        mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        secrets = {volume["name"]: volume.get("secret") for volume in pod["volumes"]}
        there = {
            f"{folder}/{item['path']}"
            for folder, volume in mounted.items()
            for item in (secrets[volume] or {}).get("items", ())
        }
        files = {v for v in variables if v.endswith("_FILE")}
        assert {variables[v] for v in files} == there
        assert {v.removesuffix("_FILE") for v in files} <= SECRET
        assert all(s["defaultMode"] == 0o440 for s in secrets.values() if s)  # read by fsGroup


def test_each_pod_has_the_secrets_that_it_needs() -> None:
    def secrets(name: str, values: str) -> set[str]:
        return {v[5:-5] for v in environment(pods(of(values))[name]) if v.endswith("_FILE")}

    shared = {"DATABASE_URL", "BROKER_URL", "STORAGE_URL"}
    assert secrets("dspt-worker-default", "aws") == shared
    assert secrets("dspt-api", "aws") == shared | {"BOOTSTRAP_KEY", "SIGNING_KEY"}
    assert secrets("dspt-api", "own-s3") == shared
    assert secrets("dspt-migrate", "aws") == {"DATABASE_URL", "OWNER_DATABASE_URL"}
    volumes = {v["name"]: v.get("secret") for v in pods(of("aws"))["dspt-migrate"]["volumes"]}
    assert volumes["secrets"]["secretName"] == "dspt-aws"
    assert volumes["owner"]["secretName"] == "dspt-aws-owner"
    assert set(environment(pods(of("own-s3"))["dspt-api"])) >= S3_KEY
    assert not S3_KEY & set(environment(pods(of("aws"))["dspt-api"]))  # the role has the key


@EACH
def test_pods_are_as_confined_as_the_containers_of_compose(values: Path) -> None:
    for name, pod in pods(rendered(values)).items():
        described, [container] = service(name), pod["containers"]
        security = container["securityContext"]
        user = pod["securityContext"]
        assert f"{user['runAsUser']}:{user['runAsGroup']}" == described["user"], name
        assert user["runAsNonRoot"] is True
        assert user["fsGroup"] == user["runAsGroup"]  # so that secrets can be read
        assert user["seccompProfile"] == {"type": "RuntimeDefault"}
        assert security["readOnlyRootFilesystem"] is described["read_only"] is True
        assert security["capabilities"]["drop"] == described["cap_drop"]
        assert security["allowPrivilegeEscalation"] is False
        # Of a worker, the options differ.
        assert container["command"][:2] == described["command"][:2]
        assert container["image"].split("/")[-1].split(":")[0] == described["image"].split(":")[0]
        assert pod["automountServiceAccountToken"] is False
        # Else a Service named dspt would set DSPT_PORT to an URL.
        assert pod["enableServiceLinks"] is False
        for volume in pod["volumes"]:
            assert "hostPath" not in volume
            assert "sizeLimit" in volume.get("emptyDir", {"sizeLimit": ""})


@EACH
def test_what_the_service_writes_is_on_a_volume(values: Path) -> None:
    for name, pod in pods(rendered(values)).items():
        mounts = {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
        assert "/tmp" in mounts, name
        data = {v for v in service(name).get("volumes", ()) if v.endswith(":/var/lib/dspt")}
        assert ("/var/lib/dspt" in mounts) == bool(data), name


def test_caches_are_limited_to_half_of_their_volume() -> None:
    for values in ("defaults", "public", "gpu"):
        for name, pod in pods(of(values)).items():
            limits = {v["name"]: v["emptyDir"] for v in pod["volumes"] if "emptyDir" in v}
            variables = environment(pod)
            for variable, volume in (
                ("DSPT_MAX_UPLOAD_BYTES_IN_FLIGHT", "tmp"),
                ("DSPT_WORKER_PHOTO_CACHE_BYTES", "data"),
            ):
                if value := variables.get(variable):
                    assert int(value) * 2 == bytes_of(limits[volume]["sizeLimit"]), name


@EACH
def test_pods_get_the_time_that_their_stop_takes(values: Path) -> None:
    for name, pod in pods(rendered(values)).items():
        grace = pod.get("terminationGracePeriodSeconds", 30)
        if name in SERVERS:
            variables = environment(pod)
            stop = Settings(
                stop_delay_seconds=float(variables["DSPT_STOP_DELAY_SECONDS"] or ""),
                stop_timeout_seconds=float(variables["DSPT_STOP_TIMEOUT_SECONDS"] or ""),
            )
            assert stop.stop_seconds < grace <= stop.stop_seconds + 10
        elif name != "dspt-migrate":
            assert f"{grace}s" == service(name)["stop_grace_period"]


@EACH
def test_the_api_is_probed_and_workers_do_not_stop_with_the_broker(values: Path) -> None:
    for name, pod in pods(rendered(values)).items():
        [container] = pod["containers"]
        probes = {
            kind: container[kind]["httpGet"]["path"] for kind in container if kind.endswith("Probe")
        }
        ports = {port["name"]: str(port["containerPort"]) for port in container.get("ports", ())}
        if name in SERVERS:
            live, ready = "/health/live", "/health/ready"
            assert probes == {"startupProbe": live, "livenessProbe": live, "readinessProbe": ready}
            assert ports["http"] == environment(pod)["DSPT_PORT"]
        elif name == "dspt-migrate":
            assert probes == {}
        else:
            assert probes == {"startupProbe": "/metrics", "livenessProbe": "/metrics"}
            assert ports["metrics"] == environment(pod)["DSPT_WORKER_METRICS_PORT"]


@EACH
def test_selectors_find_the_pods_they_are_for(values: Path) -> None:
    objects = rendered(values)
    deployments = of_kind(objects, "Deployment")
    labels = {name: found["metadata"]["labels"] for name, found in templates(objects).items()}
    selectors = [d["spec"]["selector"]["matchLabels"] for d in deployments.values()]
    selectors += [s["spec"]["selector"] for s in of_kind(objects, "Service").values()]
    budgets = of_kind(objects, "PodDisruptionBudget")
    selectors += [b["spec"]["selector"]["matchLabels"] for b in budgets.values()]
    for selector in selectors:
        assert [n for n, found in labels.items() if selector.items() <= found.items()] != []
    for name, deployment in deployments.items():
        selector = deployment["spec"]["selector"]["matchLabels"].items()
        assert [n for n, found in labels.items() if selector <= found.items()] == [name]
    # A budget for workers would hold up the drain of a node for as long as a job takes.
    services = of_kind(objects, "Service")
    assert set(budgets) == set(services) == SERVERS & set(labels)
    for name, one in services.items():
        [container] = pods(objects)[name]["containers"]
        ports = {port["name"] for port in container["ports"]}
        assert {port["targetPort"] for port in one["spec"]["ports"]} <= ports


def test_the_database_is_migrated_before_anything_else() -> None:
    migrate = of_kind(of("defaults"), "Job")["dspt-migrate"]
    annotations = migrate["metadata"]["annotations"]
    assert annotations["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert "before-hook-creation" in annotations["helm.sh/hook-delete-policy"]
    # At the first installation nothing else of the release is there yet.
    assert "serviceAccountName" not in migrate["spec"]["template"]["spec"]
    for name, pod in pods(of("defaults")).items():
        if name != "dspt-migrate":
            assert environment(pod)["DSPT_MIGRATE_AT_START"] == "false"


def test_the_number_of_replicas_is_the_autoscalers_if_there_is_one() -> None:
    for values, there in (("defaults", False), ("public", True)):
        deployment = of_kind(of(values), "Deployment")["dspt-api"]
        scalers = of_kind(of(values), "HorizontalPodAutoscaler")
        assert ("replicas" not in deployment["spec"]) == bool(scalers) == there
    target = scalers["dspt-api"]["spec"]["scaleTargetRef"]
    assert target == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "dspt-api"}
    assert "replicas" not in of_kind(of("aws"), "Deployment")["dspt-predict"]["spec"]
    assert not of_kind(of("aws"), "HorizontalPodAutoscaler")  # KEDA makes it


def test_events_reach_clients_through_the_ingress_as_they_occur() -> None:
    ingress = of_kind(of("public"), "Ingress")["dspt-api"]
    annotations = ingress["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/proxy-buffering"] == "off"
    assert annotations["nginx.ingress.kubernetes.io/proxy-body-size"] == "0"
    [rule] = ingress["spec"]["rules"]
    [path] = rule["http"]["paths"]
    target = path["backend"]["service"]
    ports = of_kind(of("public"), "Service")[target["name"]]["spec"]["ports"]
    assert target["port"]["name"] in {port["name"] for port in ports}
    assert ingress["spec"]["tls"] == [{"hosts": [rule["host"]], "secretName": "dspt-tls"}]


def test_only_the_api_can_be_reached_unless_the_values_say_otherwise() -> None:
    policies = of_kind(of("defaults"), "NetworkPolicy")
    assert set(policies) == {"dspt", "dspt-api"}
    assert "ingress" not in policies["dspt"]["spec"]
    everything = policies["dspt"]["spec"]["podSelector"]["matchLabels"].items()
    for template in templates(of("pools")).values():
        assert everything <= template["metadata"]["labels"].items()
    assert policies["dspt-api"]["spec"]["ingress"] == [{"ports": [{"port": "http"}]}]
    closed = of_kind(of("aws"), "NetworkPolicy")
    assert set(closed) == {"dspt", "dspt-api", "dspt-predict", "dspt-worker-default"}
    assert closed["dspt"]["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert closed["dspt"]["spec"]["egress"][0]["ports"] == [
        {"protocol": "UDP", "port": 53},
        {"protocol": "TCP", "port": 53},
    ]
    for name in ("dspt-api", "dspt-predict", "dspt-worker-default"):
        assert all(rule["from"] for rule in closed[name]["spec"]["ingress"])
    assert not of_kind(of("own-s3"), "NetworkPolicy")


def test_a_gpu_is_one_pods() -> None:
    found = pods(of("gpu"))
    limits = found["dspt-worker-gpu"]["containers"][0]["resources"]["limits"]
    assert limits == {"memory": "24Gi", "nvidia.com/gpu": 1}
    assert "resources" not in found["dspt-worker-cpu"]["containers"][0]
    assert found["dspt-worker-gpu"]["tolerations"][0]["key"] == "nvidia.com/gpu"
    variables = environment(found["dspt-worker-cpu"])
    assert variables["DSPT_LOG_FORMAT"] == "text"
    assert variables["DSPT_LOCAL_BACKBONES"] == '["local-dir:/models/clip"]'


@EACH
def test_every_pool_has_workers_and_every_worker_a_pool(values: Path) -> None:
    found = {name: pod for name, pod in pods(rendered(values)).items() if "worker" in name}
    pools = environment(pods(rendered(values))["dspt-api"]).get("DSPT_POOLS")
    assert bool(pools) == bool(found)
    settings = Settings(pools=json.loads(pools)) if pools else Settings()
    assert {f"dspt-worker-{pool.name}" for pool in settings.pools if pools} == set(found)
    for name, pod in found.items():
        command = pod["containers"][0]["command"]
        assert command[:4] == ["dspt", "worker", "--pool", name.removeprefix("dspt-worker-")]


def test_the_chart_is_of_this_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert chart["version"] == chart["appVersion"] == version
    for name in ("api", "worker"):
        assert SERVICES[name]["image"] == f"dspt-{name}:{version}"
