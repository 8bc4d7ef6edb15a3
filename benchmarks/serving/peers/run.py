"""Start the service and its peers in turns, with the same clients, photos and threads."""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.datasets.demo_photos import PHOTOGRAPHS
from benchmarks.random_weights import loadable
from benchmarks.serving.api import PREDICT
from benchmarks.serving.bench import Bench, OnProgress, row, service_settings
from benchmarks.serving.classifiers import write_classifiers
from benchmarks.serving.clients import Clients, Order
from benchmarks.serving.peers.environments import python_of, versions_in
from benchmarks.serving.peers.peer import APPS, PEERS, Server, running
from benchmarks.serving.peers.report import OURS
from benchmarks.serving.photos import tiny_png
from benchmarks.skeleton.child import Child
from benchmarks.skeleton.program import Document
from benchmarks.stack import HOST, running_stack
from dspt.backbones import load_backbone

BACKBONE = "ViT-B-32/random"
CLIENTS = (1, 8, 64)
_MIB = 1 << 20


def measure_peers(
    options: argparse.Namespace,
    folder: Path,
    photos: Sequence[bytes],
    on_progress: OnProgress,
    document: Document,
) -> None:
    """Fill in the versions of the peers, and the figures of each round."""
    document["peers"], document["rounds"] = {}, list[Document]()
    on_progress("drawing weights")
    weights = loadable(BACKBONE, folder / "weights")
    hf_weights = folder / "weights" / "transformers"
    pythons = dict[str, Path]()
    for peer in PEERS:
        on_progress(f"{peer.name}: environment (the first time minutes and 6 GB)")
        pythons[peer.name] = python_of(options.environments, peer.requirements)
        document["peers"][peer.name] = versions_in(pythons[peer.name], peer.packages)
        if peer.needs_hf_weights and not hf_weights.exists():
            program = str(APPS / "random_hf_clip.py")
            subprocess.run([pythons[peer.name], program, hf_weights], check=True)
    variables = {"PEER_WEIGHTS": weights, "PEER_HF_WEIGHTS": str(hf_weights)}
    found = {peer.name: peer for peer in PEERS}
    for number in range(options.rounds):
        document["rounds"].append(figures := Document())
        for name in (OURS, *found)[:: 1 if number % 2 == 0 else -1]:
            place = folder / f"{number}-{name.replace(' ', '-')}"
            place.mkdir()
            on_progress(f"{name}, round {number + 1} of {options.rounds}: starting")
            if name == OURS:
                starting = _ours(options, place, weights)
            else:
                log = place / "log"
                starting = running(found[name], pythons[name], variables, options.threads, log)
            with starting as server:
                figures[name] = _measured(server, photos, options)


@contextmanager
def _ours(options: argparse.Namespace, folder: Path, weights: str) -> Iterator[Server]:
    """`dspt api` and `dspt worker` with one model, whose image tower is compiled."""
    settings = service_settings([weights], options.threads, models=1)
    with running_stack(folder, workers=1, threads=options.threads, settings=settings) as stack:
        classes = [[photograph.folder for photograph in PHOTOGRAPHS]]
        (model,) = write_classifiers(stack, load_backbone(weights), classes, options.seed)
        place = (HOST, stack.port)
        with Child("clients", Clients, place, stack.key, [], tiny_png(), options.seed) as clients:
            bench = Bench(stack, clients, options.seconds, options.seed, lambda what: None)
            bench.load(model, weights)
        yield Server(stack.port, stack.key, model, PREDICT, stack.roots)


def _measured(
    server: Server, photos: Sequence[bytes], options: argparse.Namespace
) -> dict[str, Any]:
    """Return speed, latency, CPU time and memory with each number of clients."""
    found = dict[str, Any]()
    arguments = ((HOST, server.port), server.key, photos, tiny_png(), options.seed, server.api)
    with Child("clients", Clients, *arguments) as clients:
        for count in CLIENTS:
            order = Order(
                *(count, 1, [server.model], options.seconds, options.seconds / 3),
                watched=server.processes,
            )
            outcome = clients.call("carry_out", order)
            spent = row(outcome)
            cpu_ms = sum(spent["cpu_ms"].get(name, 0.0) for name in server.processes)
            memory = sum(usage.memory for usage in outcome.after.values()) / _MIB
            found[str(count)] = spent | {"cpu_ms": cpu_ms, "mib": memory}
    return found
