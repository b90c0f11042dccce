"""The capacity model's formulas, and the cluster that they are compared with."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import fleet, scaling
from benchmarks.capacity import rates_of, samples_of, tables
from benchmarks.cluster import Cluster, Conditions, Work
from benchmarks.driver import Found, fitted
from benchmarks.fleet import Fleet
from benchmarks.leases import Case, Mill, Shared
from benchmarks.scaling import Driver, Failures, Sample
from engine.base.choices import WIRES

positive = st.floats(1e-6, 1e6)
SAMPLE = Sample(driver_s=0.0003, worker_s=0.003, clips_bytes=400_000, lease_bytes=10_000)
WORKS = [Work(0.002, 0.1 + 0.02 * n, 1000 + 100 * n) for n in range(11)]  # 0.2 s in the mean


@given(st.integers(1, 10_000), positive, positive, positive)
def test_the_least_bound_binds(devices: int, rate: float, cores: float, gigabits: float) -> None:
    found = scaling.bounds(
        SAMPLE, devices=devices, device_rate=rate, cores=cores, gigabits=gigabits
    )
    assert set(found) == {"device", "decode cores", "network", "driver"}
    more = scaling.bounds(
        SAMPLE, devices=devices + 1, device_rate=rate, cores=cores, gigabits=gigabits
    )
    assert min(more.values()) >= min(found.values())
    # what feeds a rate binds at that rate
    fed = scaling.bounds(
        SAMPLE,
        devices=1,
        device_rate=rate,
        cores=scaling.cores_for(rate, SAMPLE),
        gigabits=scaling.gigabits_for(rate, SAMPLE),
    )
    assert fed["decode cores"] == pytest.approx(rate)
    assert fed["network"] == pytest.approx(rate)


def test_a_million_videos() -> None:
    job = scaling.job(1_000_000, SAMPLE, devices=10, rate=1000)
    assert job.device_hours == 10 * job.hours == pytest.approx(10_000 / 3600)
    assert job.core_hours == pytest.approx(3000 / 3600)
    assert job.gigabytes == pytest.approx(400)


@given(st.integers(1, 10_000), st.floats(100, 1e9), st.floats(0, 600), st.integers(1, 64))
def test_failures_take_their_share(nodes: int, mtbf: float, restart: float, batch: int) -> None:
    failures = Failures(nodes, mtbf, restart, 0.0003, 0.5, 0.4, batch)
    least, most = failures.efficiency(drains=True), failures.efficiency(drains=False)
    assert 0 < least <= most <= failures.up <= 1
    assert replace(failures, mtbf_s=1e15).efficiency(drains=True) == pytest.approx(1, abs=1e-3)
    assert replace(failures, nodes=2 * nodes).efficiency(drains=False) <= most


@given(st.floats(100, 1e9), st.floats(0, 600), st.floats(0.001, 10))
def test_engines_cost_their_absence(mtbf: float, away: float, sample: float) -> None:
    left = scaling.left_of_engines(mtbf, away, sample)
    assert 0 < left <= 1 / (1 + away / mtbf)
    assert scaling.left_of_engines(1e15, away, sample) == pytest.approx(1)


def test_tables() -> None:
    """Every stage and device has its row."""
    stages = (
        "driver: average one clip",
        "driver: average 20 clips",
        "driver: write the record",
        "worker: place one clip",
        "worker: place 20 clips",
        "worker: place and draw 20 clips",
        "worker: gather clips",
    )
    ms = {stage: [0.5, 1.0, 1.5] for stage in stages}
    for kind in WIRES:
        ms |= {
            f"worker: encode {kind}": [1.0],
            f"both: carry {kind}": [2.0],
            f"both: carry {kind} between nodes, encrypted": [4.0],
        }
    nested = {
        "rates": {
            "hmdb51_like": {
                "engine, bf16, shared, frames": [1.0, 3.0, 2.0],
                "pure inference, bf16": [9.0],
            }
        },
        "machine": {"cpu": "C", "cores": 2},
    }
    flat = {
        "rates": {"engine, bf16, shared, keypoints": [700.0], "engine, bf16, clips, clips": [7.0]},
        "machine": {"cpu": "C", "cores": 2},
        "device": "G",
    }
    devices = rates_of(nested) | rates_of(flat)
    assert devices == {"2 cores of C, bf16": 2.0, "G, bf16": 700.0}
    results = {
        "cpu_ms": ms,
        "run_cpu_ms": {"driver": [3.0], "worker": [5.0]},
        "devices": devices,
        "bytes": {"frames": 4e5, "clips": 2e8, "keypoints": 3e4, "lease": 1e4, "logits": 4080.0},
    }
    samples = samples_of(results)
    assert samples["keypoints"].driver_s == pytest.approx(0.004)
    assert samples["keypoints"].worker_s == pytest.approx(0.005)
    assert samples["clips between nodes"].worker_s == pytest.approx(0.007)
    results["samples_cost"] = {name: asdict(one) for name, one in samples.items()}
    text = "\n".join(tables(results))
    assert text.count("| G, bf16 |") == 2
    assert all(f"| {name} |" in text for name in ms)


def test_a_cluster_that_does_not_fail_is_as_fast_as_the_model_says() -> None:
    for nodes, driver_s, binding in ((4, 0.001, "device"), (40, 0.01, "driver")):
        found = Cluster(Conditions(nodes, 2000, WORKS, driver_s=driver_s, max_batch=2)).run()
        sample = replace(SAMPLE, driver_s=driver_s)
        bounds = scaling.bounds(sample, devices=nodes, device_rate=5, cores=nodes)
        assert min(bounds, key=lambda part: bounds[part]) == binding
        assert found.scored / found.seconds == pytest.approx(bounds[binding], rel=0.05)
        assert found.deaths == {}


@pytest.mark.parametrize("seed", range(3))
def test_a_cluster_in_which_everything_happens(seed: int) -> None:
    """What is promised is asserted within; the same seed is the same run."""
    conditions = Conditions(
        30,
        3000,
        WORKS,
        driver_s=0.0003,
        budget=60_000,
        mtbf_s=30,
        restart_s=2,
        hangs=0.2,
        lease_timeout=3,
        stall_timeout=5,
        poison=4,
        seed=seed,
    )
    found = Cluster(conditions).run()
    assert found.scored + len(found.convicted) == 3000
    assert len(found.convicted) - len(found.innocent) == 4
    assert found.peak_bytes <= 60_000
    assert min(found.deaths[kind] for kind in ("node", "poison", "worker", "killed")) > 0
    assert found.stale > 0
    assert asdict(Cluster(conditions).run()) == asdict(found)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 6),
    st.integers(3, 60),
    st.integers(0, 3),
    st.sampled_from([30.0, 300.0]),
    st.sampled_from([500, 3000, 10**6]),
)
def test_small_clusters(
    seed: int, nodes: int, samples: int, poison: int, mtbf: float, budget: int
) -> None:
    Cluster(
        Conditions(
            nodes,
            samples,
            WORKS,
            driver_s=0.0003,
            budget=budget,
            mtbf_s=mtbf,
            restart_s=1,
            hangs=0.3,
            lease_timeout=2,
            stall_timeout=4,
            poison=poison,
            seed=seed,
        )
    ).run()


def test_costs_are_found_again() -> None:
    """Those that there are, and nothing below zero where there is none."""
    for costs in (Driver(1e-4, 1e-6, 3e-4, 5e-5), Driver(1e-4, 0, 3e-4, 5e-5)):
        found = [
            Found(*about, cpu_s=0)
            for about in (
                (1, 30, 15, 3000),
                (10, 80, 150, 150),
                (100, 500, 1300, 1300),
                (100, 200, 800, 16_000),
                (1000, 500, 5000, 5000),
            )
        ]
        again = fitted([replace(one, cpu_s=one.said(costs)) for one in found])
        assert asdict(again) == pytest.approx(asdict(costs), abs=1e-9)
        assert min(asdict(again).values()) >= 0


def test_a_fleet_that_does_not_fail_is_as_fast_as_the_model_says() -> None:
    driver = Driver(turn_s=1e-4, look_s=1e-6, report_s=0.001, record_s=0.002)
    for engines, binding in ((10, "device"), (200, "driver")):
        conditions = fleet.Conditions(engines, 200 * engines, WORKS, driver)
        found = Fleet(conditions).run()
        bounds = {"device": 5 * engines, "driver": driver.bound(conditions.ahead(5))}
        assert min(bounds, key=lambda part: bounds[part]) == binding
        assert found.scored / found.seconds == pytest.approx(bounds[binding], rel=0.05)
        assert found.deaths == {}


@pytest.mark.parametrize("seed", range(3))
def test_a_fleet_in_which_everything_happens(seed: int) -> None:
    conditions = fleet.Conditions(
        30,
        3000,
        WORKS,
        Driver(1e-4, 1e-5, 1e-4, 1e-4),
        mtbf_s=20,
        restart_s=2,
        hangs=0.2,
        patience_s=5,
        poison=4,
        seed=seed,
    )
    found = Fleet(conditions).run()
    assert found.scored + len(found.convicted) == 3000
    assert len(found.convicted) - len(found.innocent) == 4
    assert min(found.deaths[kind] for kind in ("node", "poison", "killed")) > 0
    assert min(found.suspects, found.late) > 0
    assert asdict(Fleet(conditions).run()) == asdict(found)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 6),
    st.integers(3, 60),
    st.integers(0, 3),
    st.sampled_from([5.0, 30.0, 300.0]),
)
def test_small_fleets(seed: int, engines: int, samples: int, poison: int, mtbf: float) -> None:
    Fleet(
        fleet.Conditions(
            engines,
            samples,
            WORKS,
            mtbf_s=mtbf,
            restart_s=1,
            hangs=0.3,
            patience_s=4,
            poison=poison,
            seed=seed,
        )
    ).run()


@pytest.mark.parametrize("kind", [Mill, Shared])
def test_mills_go_round(kind: type[Mill | Shared]) -> None:
    mill = kind(Case(3, 4))
    assert sum(mill.turn() for _ in range(10)) >= 40
    assert "lost" in mill.look()
