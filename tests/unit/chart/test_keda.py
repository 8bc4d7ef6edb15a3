"""The chart's objects for KEDA, of which kubernetes-validate has no schema."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from app.kit.cache import SizedCache
from app.predictions.metrics import EngineMetrics
from tests.chart import VALUES, of_kind, rendered

#: The keys of KEDA's kinds, as in its sources (github.com/kedacore/keda): scaledjob_types.go
#: (0597498d), scaletriggers_types.go (1a230280) and triggerauthentication_types.go (01af5fdb) in
#: apis/keda/v1alpha1, and for the trigger pkg/scalers/postgresql_scaler.go (02d4b80f); for
#: pods that predict scaledobject_types.go (01ee1d30) and prometheus_scaler.go (0805d72e).
#: jobTargetRef is the specification of a Job.
SCALED_JOB = {
    "jobTargetRef",
    "pollingInterval",
    "successfulJobsHistoryLimit",
    "failedJobsHistoryLimit",
    "rollout",
    "envSourceContainerName",
    "minReplicaCount",
    "maxReplicaCount",
    "scalingStrategy",
    "triggers",
}
STRATEGY = {
    "strategy",
    "customScalingQueueLengthDeduction",
    "customScalingRunningJobPercentage",
    "pendingPodConditions",
    "multipleScalersCalculation",
}
ROLLOUT = {"strategy", "propagationPolicy"}
TRIGGER = {"type", "name", "useCachedMetrics", "metadata", "authenticationRef", "metricType"}
POSTGRESQL = {
    "targetQueryValue",
    "activationTargetQueryValue",
    "query",
    "host",
    "port",
    "userName",
    "dbName",
    "sslmode",
}
SCALED_OBJECT = {
    "scaleTargetRef",
    "pollingInterval",
    "initialCooldownPeriod",
    "cooldownPeriod",
    "idleReplicaCount",
    "minReplicaCount",
    "maxReplicaCount",
    "advanced",
    "triggers",
    "fallback",
}
TARGET = {"name", "apiVersion", "kind", "envSourceContainerName"}
PROMETHEUS = {
    "serverAddress",
    "query",
    "queryParameters",
    "threshold",
    "activationThreshold",
    "namespace",
    "customHeaders",
    "ignoreNullValues",
    "unsafeSsl",
    "timeout",
}
CPU = {"value", "containerName"}
AUTHENTICATION = {"podIdentity", "secretTargetRef", "configMapTargetRef", "env"}
SECRET_TARGET = {"parameter", "name", "key"}

POOLS, AWS = (VALUES[0].with_name(f"{name}.yaml") for name in ("pools", "aws"))
KINDS = {POOLS: {"ScaledJob", "TriggerAuthentication"}, AWS: {"ScaledObject"}}


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_every_kind_of_keda_is_checked_here(values: Path) -> None:
    kinds = {one["kind"] for one in rendered(values) if one["apiVersion"].startswith("keda.sh/")}
    assert kinds == KINDS.get(values, set())
    assert {one["apiVersion"] for one in rendered(values) if one["kind"] in kinds} <= {
        "keda.sh/v1alpha1"
    }


def scaled_jobs() -> list[dict[str, Any]]:
    found = of_kind(rendered(POOLS), "ScaledJob")
    assert list(found) == ["dspt-worker-l4", "dspt-worker-burst"]
    return list(found.values())


def test_the_keys_of_a_scaled_job() -> None:
    for one in scaled_jobs():
        spec = one["spec"]
        assert set(one) == {"apiVersion", "kind", "metadata", "spec"}
        assert set(spec) <= SCALED_JOB
        assert set(spec["scalingStrategy"]) <= STRATEGY
        assert set(spec["rollout"]) <= ROLLOUT
        [trigger] = spec["triggers"]
        assert set(trigger) <= TRIGGER
        assert set(trigger["metadata"]) <= POSTGRESQL
        assert all(isinstance(value, str) for value in trigger["metadata"].values())
        for name in ("pollingInterval", "maxReplicaCount", "failedJobsHistoryLimit"):
            assert isinstance(spec[name], int)


def test_pods_for_predictions_follow_the_images_that_wait() -> None:
    [one] = of_kind(rendered(AWS), "ScaledObject").values()
    spec = one["spec"]
    assert set(one) == {"apiVersion", "kind", "metadata", "spec"}
    assert set(spec) <= SCALED_OBJECT
    assert set(spec["scaleTargetRef"]) <= TARGET
    deployments = of_kind(rendered(AWS), "Deployment")
    assert one["metadata"]["name"] == spec["scaleTargetRef"]["name"] == "dspt-predict"
    assert spec["scaleTargetRef"]["name"] in deployments
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 10)
    cpu, waiting = spec["triggers"]
    for trigger, keys in ((cpu, CPU), (waiting, PROMETHEUS)):
        assert set(trigger) <= TRIGGER
        assert set(trigger["metadata"]) <= keys
        assert all(isinstance(value, str) for value in trigger["metadata"].values())
    assert (cpu["metricType"], waiting["metricType"]) == ("Utilization", "AverageValue")
    assert waiting["metadata"]["threshold"] == "128"
    metric, labels = re.fullmatch(  # type: ignore[union-attr]
        r"sum\((\w+)\{(.+)\}\)", waiting["metadata"]["query"]
    ).groups()
    registry = CollectorRegistry()
    none: Any = SimpleNamespace(bytes=0, engines={})
    EngineMetrics(registry).watch(lambda: 0, SizedCache(1, 1), none)
    assert metric in {family.name for family in registry.collect()}
    assert labels == 'namespace="vision",pod=~"dspt-predict-.+"'


def test_its_pods_are_those_of_a_job() -> None:
    validation = pytest.importorskip("kubernetes_validate")
    for one in scaled_jobs():
        job = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": one["metadata"],
            "spec": one["spec"]["jobTargetRef"],
        }
        validation.validate(job, "1.37", strict=True)
        pod = job["spec"]["template"]["spec"]
        # The database has what a pod that died did; another one takes it up.
        assert (pod["restartPolicy"], job["spec"]["backoffLimit"]) == ("Never", 0)
        assert "--exit-when-idle" in pod["containers"][0]["command"]


def test_an_upgrade_stops_no_busy_worker() -> None:
    for one in scaled_jobs():
        assert one["spec"]["rollout"] == {"strategy": "gradual"}  # default: its jobs are deleted


def test_keda_reads_the_secret_of_the_service() -> None:
    [authentication] = of_kind(rendered(POOLS), "TriggerAuthentication").values()
    assert set(authentication["spec"]) <= AUTHENTICATION
    [target] = authentication["spec"]["secretTargetRef"]
    assert set(target) == SECRET_TARGET
    assert target == {"parameter": "connection", "name": "dspt", "key": "keda-url"}
    for one in scaled_jobs():
        reference = one["spec"]["triggers"][0]["authenticationRef"]
        assert reference == {"name": authentication["metadata"]["name"]}
