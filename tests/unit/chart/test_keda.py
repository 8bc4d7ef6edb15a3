"""The chart's objects for KEDA, of which kubernetes-validate has no schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.chart import VALUES, of_kind, rendered

#: The keys of KEDA's kinds, as in its sources (github.com/kedacore/keda): scaledjob_types.go
#: (0597498d), scaletriggers_types.go (1a230280) and triggerauthentication_types.go (01af5fdb) in
#: apis/keda/v1alpha1, and for the trigger pkg/scalers/postgresql_scaler.go (02d4b80f).
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
AUTHENTICATION = {"podIdentity", "secretTargetRef", "configMapTargetRef", "env"}
SECRET_TARGET = {"parameter", "name", "key"}

POOLS = VALUES[0].with_name("pools.yaml")


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_every_kind_of_keda_is_checked_here(values: Path) -> None:
    kinds = {one["kind"] for one in rendered(values) if one["apiVersion"].startswith("keda.sh/")}
    expected = {"ScaledJob", "TriggerAuthentication"} if values == POOLS else set()
    assert kinds == expected
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
