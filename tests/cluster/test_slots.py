"""A worker for each GPU, or for each machine without one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.cluster.slots import NoCluster, NodeOffer, Slot, plan_slots

OFFERS = st.lists(
    st.builds(NodeOffer, name=st.just("n"), cpus=st.integers(0, 64).map(float), gpus=st.integers(0, 8).map(float)),
    max_size=6,
)


@given(OFFERS)
def test_each_gpu_of_the_cluster_gets_a_worker(offers: list[NodeOffer]) -> None:
    gpus = sum(int(offer.gpus) for offer in offers)
    if gpus:
        slots = plan_slots(offers)
        assert len(slots) == gpus
        assert {slot.gpus for slot in slots} == {1}


@given(OFFERS, st.integers(1, 12))
def test_without_gpus_the_processors_suffice_for_as_many_workers_as_were_asked_for(
    offers: list[NodeOffer], workers: int
) -> None:
    computing = [offer for offer in offers if offer.cpus]
    if not computing:
        return
    slots = plan_slots(offers, workers=workers, device="cpu")
    assert len(slots) == workers
    assert sum(slot.cpus for slot in slots) <= sum(offer.cpus for offer in computing) + 1e-6
    assert all(slot.cpus > 0 and slot.threads >= 1 and slot.gpus == 0 for slot in slots)


def test_without_gpus_each_node_gets_a_worker_with_all_its_processors() -> None:
    offers = [NodeOffer("a", 2.0, 0.0), NodeOffer("b", 8.0, 0.0), NodeOffer("head", 0.0, 0.0)]
    assert plan_slots(offers) == (Slot(cpus=8, threads=8), Slot(cpus=2, threads=2))


def test_fewer_gpus_are_used_if_fewer_workers_are_asked_for() -> None:
    offers = [NodeOffer("a", 16.0, 4.0)]
    assert plan_slots(offers, workers=2) == (Slot(gpus=1, threads=4),) * 2


def test_gpus_are_left_alone_if_the_processor_is_to_compute() -> None:
    assert plan_slots([NodeOffer("a", 16.0, 4.0)], device="cpu") == (Slot(cpus=16, threads=16),)


def test_a_cluster_with_nothing_to_compute_on_is_refused_in_words() -> None:
    with pytest.raises(NoCluster, match=r"1 nodes.*--num-cpus"):
        plan_slots([NodeOffer("head", 0.0, 0.0)])
