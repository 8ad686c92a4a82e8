"""Cost against the number of crystals and of models: scaling.csv, scaling.png, a table in README.

    python benchmarks/scaling.py [PART ...] [--small]

Crystals: 1,024 to 36,737 of the study's snapshot where the data directory holds it, else 512 to
6,317 embedded ones. Models: small networks one by one and stacked in one tensor, CGCNN members on
one and on two processes. Each measurement runs in a process of its own, on one thread; costs are
CPU seconds, so other work on the machine hardly counts. An exponent is the slope of a straight
line through the logarithms. PART is networks, stacking, structures, processes or members; what was
measured before stays. `--small` tries everything on tiny sizes and writes nothing.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent
SNAPSHOT = "mp.2019.04.01.subset.json.gz"
SIZES = {
    False: {
        "snapshot": (1024, 4096, 16384, 36737), "open": (512, 1024, 2048, 4096, 6317),
        "gp": (200, 400, 800, 1600), "networks": (1, 4, 16, 63, 252, 1260), "epochs": 300,
        "members": (1, 2, 4), "member_epochs": 50, "batches": (1, 4, 16, 64, 128, 256),
    },
    True: {
        "snapshot": (32, 64), "open": (32, 64), "gp": (30, 60), "networks": (1, 4), "epochs": 10,
        "members": (1, 2), "member_epochs": 2, "batches": (1, 4),
    },
}  # fmt: skip
BATCH = 128


def row(series, size, **values):
    """One measurement."""
    return {"series": series, "size": size, **values}


def peak_gib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def median_cpu(call, rounds=3):
    """Median CPU seconds of a call after one that is not counted."""
    times = []
    for _ in range(rounds + 1):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return statistics.median(times[1:])


def crystals_of(source, count):
    """`count` structures spread evenly over a source: CIF texts, or the embedded crystals."""
    from mfutils.datasets import bandgap, registry, snapshot

    if source == "open":
        found = bandgap.load("open", columns=["structure"])["structure"].tolist()
    else:
        found = [e["structure"] for e in snapshot.entries(registry.data_dir() / SNAPSHOT)]
    return [found[i] for i in np.linspace(0, len(found) - 1, count).astype(int)]


def structures(source, count):
    """Graphs of `count` crystals, then epochs of CGCNN on them; peak memory after each."""
    from bench_cgcnn import stepper

    from mfutils.crystals.graph_data import build_dataset
    from mfutils.networks.cgcnn import CGCNN

    settings = {"cutoff": 8.0, "max_neighbors": 12, "short": "grow", "progress": False}
    texts = crystals_of(source, count)
    build_dataset(texts[:8], **settings)  # compiles
    start = time.process_time()
    dataset = build_dataset(texts, **settings)
    seconds = time.process_time() - start
    sizes = {"atoms": len(dataset.numbers), "peak_gib": peak_gib()}
    yield row(f"graphs ({source})", len(dataset), cpu_s=seconds, **sizes)
    step = stepper(CGCNN(seed=0))
    import torch

    target = torch.randn(len(dataset), generator=torch.Generator().manual_seed(0))
    order = np.random.default_rng(0).permutation(len(dataset))

    def epoch():
        for first in range(0, len(order), BATCH):
            part = order[first : first + BATCH]
            step(dataset.batch(part).to_torch(), target[part])

    seconds = median_cpu(epoch)
    sizes["peak_gib"] = peak_gib()
    yield row(f"CGCNN epoch ({source})", len(dataset), cpu_s=seconds, **sizes)


def processes(sizes):
    """Exact Gaussian processes on descriptors of a network."""
    from bench_gp_descriptor import descriptors

    from mfutils.gp.exact import fit_gp

    x, y = descriptors(epochs=10, samples=max(sizes))
    for n in sizes:
        seconds = median_cpu(partial(fit_gp, x[:n], y[:n]), rounds=1 if n > 500 else 3)
        yield row("exact Gaussian process", n, cpu_s=seconds, peak_gib=peak_gib())


def networks(sizes, epochs):
    """Small networks of section 3.1, one by one and stacked in one tensor."""
    from mfutils.datasets import battery
    from mfutils.study.s03_1 import mlp

    x, y = battery.features(battery.load())
    everything = mlp.initialise(range(max(sizes)))

    def train(members):
        mlp.train_fixed(everything.select(members), x, y, epochs=epochs)

    def one_by_one(count):
        for member in range(count):
            train([member])

    for count in sizes:
        seconds = median_cpu(partial(train, range(count)), rounds=5)
        yield row("small networks, stacked", count, cpu_s=seconds)
        if count <= 63:
            seconds = median_cpu(partial(one_by_one, count))
            yield row("small networks, one by one", count, cpu_s=seconds)


def timed_member(seed, epochs):
    """One CGCNN member of section 3.2; returns (process, (its CPU seconds, its peak GiB))."""
    from mfutils.study.s03_2 import members as protocols

    training = {"epochs": epochs, "patience": epochs}
    protocols.member(
        dataset="open", architecture="cgcnn", fidelity="mp_pbe", seed=seed, training=training
    )
    return os.getpid(), (time.process_time(), peak_gib())


def members(count, workers, epochs):
    """A sweep of `count` members: CPU seconds in all, and of the process that has most."""
    from mfutils.compendium import sweep

    jobs = [{"seed": seed, "epochs": epochs} for seed in range(count)]
    start = time.perf_counter()
    spent = dict(sweep.run(timed_member, jobs, workers=workers, store=False))
    wall = time.perf_counter() - start
    spent[os.getpid()] = time.process_time(), peak_gib()
    seconds, memory = zip(*spent.values(), strict=True)
    name = f"CGCNN members, {workers} process{'es' * (workers > 1)}"
    yield row(
        name, count, cpu_s=sum(seconds), longest_s=max(seconds), wall_s=wall, peak_gib=sum(memory)
    )


def stacking(batches):
    """What stacking CGCNNs could save: the fixed cost of a step, and stacked dense products."""
    import torch
    from bench_cgcnn import embedded_graphs, stepper, warmed_model

    from mfutils.networks import cgcnn_kernel

    dataset = embedded_graphs(max(batches))
    step = stepper(warmed_model(dataset))
    for count in batches:
        batch = dataset.batch(np.arange(count)).to_torch()
        target = torch.zeros(count)
        seconds = median_cpu(lambda b=batch, t=target: [step(b, t) for _ in range(20)]) / 20
        yield row("CGCNN step", count, cpu_s=seconds)
    spent = 0.0

    def timed(function):
        def call(*arguments):
            nonlocal spent
            start = time.process_time()
            function(*arguments)
            spent += time.process_time() - start

        return call

    for name in ("gate_sums", "gate_forward", "gate_backward"):
        setattr(cgcnn_kernel, name, timed(getattr(cgcnn_kernel, name)))
    start = time.process_time()
    for _ in range(50):
        step(batch, target)
    share = spent / (time.process_time() - start)
    yield row("CGCNN step, share in the passes over edges", count, share=share)
    # The dense product of a convolution for ten models: (atoms, 64) times (64, 256)
    x, w = torch.randn(10, 400, 64), torch.randn(10, 64, 256)
    apart = median_cpu(lambda: [[a @ b for a, b in zip(x, w, strict=True)] for _ in range(50)], 7)
    stacked = median_cpu(lambda: [torch.bmm(x, w) for _ in range(50)], 7)
    yield row("dense products of ten models, one by one over stacked", 10, share=apart / stacked)


def part(name, *arguments):
    """The rows of one measurement, from a process of its own."""
    command = [sys.executable, __file__, "--child", name, json.dumps(arguments)]
    one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | one
    )
    rows = json.loads(done.stdout)
    for found in rows:
        print(found, flush=True)
    return rows


def calls(sizes, wanted):
    """The parts to measure, each with its arguments."""
    from mfutils.datasets import registry

    source = "snapshot" if (registry.data_dir() / SNAPSHOT).is_file() else "open"
    every = [
        ("networks", sizes["networks"], sizes["epochs"]),
        ("stacking", sizes["batches"]),
        *(("structures", source, count) for count in sizes[source]),
        ("processes", sizes["gp"]),
        *(("members", m, w, sizes["member_epochs"]) for m in sizes["members"] for w in (1, 2)),
    ]
    return [call for call in every if not wanted or call[0] in wanted]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}")
    parser.add_argument("--small", action="store_true", help="tiny sizes, nothing written")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        import torch

        torch.set_num_threads(1)
        name, arguments = options.child
        print(json.dumps(list(PARTS[name](*json.loads(arguments)))))
        return
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    for call in calls(SIZES[options.small], options.parts):
        rows = part(*call)
        if not options.small:
            from scaling_report import write

            write(rows, FOLDER)


PARTS = {f.__name__: f for f in (networks, stacking, structures, processes, members)}

if __name__ == "__main__":
    main()
