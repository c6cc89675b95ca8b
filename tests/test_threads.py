from __future__ import annotations

import threading

import torch
from threadpoolctl import threadpool_info

from ri_analysis.threads import one_thread


def blas() -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info() if pool["internal_api"] == "openblas"]


def test_threads_are_given_back_when_the_last_one_leaves() -> None:
    before = blas()
    inside, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with one_thread:
            inside.set()
            leave.wait(10)

    other = threading.Thread(target=stay)
    other.start()
    assert inside.wait(10)
    with one_thread:
        pass
    assert set(blas()) == {1}
    leave.set()
    other.join()
    assert blas() == before


def test_torch_computes_on_one_thread_inside_and_as_before_outside() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread:
            with one_thread:
                assert torch.get_num_threads() == 1
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_an_eigendecomposition_is_the_same_under_any_number_of_threads() -> None:
    matrix = torch.randn(192, 768, generator=torch.Generator().manual_seed(0))
    gram, before, found = matrix @ matrix.T, torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            with one_thread:
                found.append(torch.linalg.eigh(gram))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for values, vectors in found[1:]:
        assert torch.equal(values, found[0][0])
        assert torch.equal(vectors, found[0][1])
