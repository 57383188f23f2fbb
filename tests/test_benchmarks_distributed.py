"""The model of communication beyond one machine: what must hold whatever the numbers are."""

from __future__ import annotations

import doctest
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import collective_costs as costs

sizes = st.floats(1, 1e10)
processes = st.integers(1, 4096)
links = st.builds(
    costs.Link, st.just(""), st.floats(1e-7, 1e-3), st.floats(1e-12, 1e-7), st.floats(0, 1e-9)
)  # fmt: skip
works = st.builds(costs.Work, st.floats(1e-5, 1), st.floats(1e-5, 1), st.floats(0, 1), sizes)


def test_the_examples_of_the_model():
    assert doctest.testmod(costs).failed == 0


@settings(deadline=None)
@given(sizes, processes, links)
def test_no_algorithm_moves_less_than_the_bound(size, count, link):
    least = 2 * (count - 1) / count * size * link.beta
    for cost in costs.ALGORITHMS.values():
        assert cost(size, count, link) >= least * (1 - 1e-9)


@settings(deadline=None)
@given(sizes, processes, links)
def test_latency_is_paid_in_at_least_as_many_steps_as_it_takes_to_reach_all(size, count, link):
    assert costs.best(size, count, link) >= math.log2(count) * link.alpha * (1 - 1e-9)


@settings(deadline=None)
@given(works, processes, links)
def test_overlap_helps_and_computation_remains(work, count, link):
    hidden, shown = costs.step(work, count, link), costs.step(work, count, link, overlap=False)
    assert work.seconds * (1 - 1e-9) <= hidden <= shown * (1 + 1e-9)


@settings(deadline=None)
@given(links)
def test_a_link_is_found_again(link):
    measured = [(size, costs.ring(size, 2, link)) for size in (10.0, 1e3, 1e5, 1e7, 1e9)]
    found = costs.fit(measured, link.gamma)
    for size, seconds in measured:
        assert math.isclose(costs.ring(size, 2, found), seconds, rel_tol=1e-3)
