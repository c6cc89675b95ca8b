from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from random_experts import assert_close, matrices
from scipy.linalg import lapack

from ri_analysis.merging.factorisation import (
    EPSILON,
    _few_eigenvectors,
    left_singular_vectors,
    one_thread,
    orthogonalised_product,
    polar_factor,
    truncated_svd,
)


def random_matrix(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


@matrices
@pytest.mark.parametrize("rank", [1, 5, 24])
def test_truncated_svd_is_the_head_of_the_full_one(shape: tuple[int, int], rank: int) -> None:
    matrix = random_matrix(shape)
    u, s, v = truncated_svd(matrix, rank)
    full_u, full_s, full_vh = torch.linalg.svd(torch.from_numpy(matrix), full_matrices=False)
    np.testing.assert_allclose(s, full_s[:rank], rtol=1e-9)
    sign = np.sign((u * full_u[:, :rank].numpy()).sum(axis=0))
    np.testing.assert_allclose(u * sign, full_u[:, :rank], atol=1e-9)
    np.testing.assert_allclose(v * sign, full_vh[:rank].T, atol=1e-9)


@pytest.mark.parametrize(("rows", "columns"), [(24, 9), (24, 5), (40, 3)])
def test_left_singular_vectors_of_matrices_side_by_side(rows: int, columns: int) -> None:
    blocks = torch.from_numpy(random_matrix((4, rows, columns))).float()
    u, s = left_singular_vectors(list(blocks))
    full_u, full_s, _ = torch.linalg.svd(torch.cat(list(blocks), dim=1).double(), full_matrices=False)
    np.testing.assert_allclose(s, full_s, rtol=1e-9)
    np.testing.assert_allclose(np.abs((u * full_u.numpy()).sum(axis=0)), np.ones(len(s)), atol=1e-9)


@matrices
def test_polar_factor_is_that_of_the_svd(shape: tuple[int, int]) -> None:
    matrix = random_matrix(shape)
    factor, nuclear_norm = polar_factor(matrix)
    u, s, vh = torch.linalg.svd(torch.from_numpy(matrix), full_matrices=False)
    assert_close(torch.from_numpy(factor), u @ vh, 1e-9)
    assert nuclear_norm == pytest.approx(float(s.sum()), rel=1e-9)


@pytest.mark.parametrize("size", [2, 3, 50, 200])
def test_a_few_eigenvectors_are_those_of_the_full_decomposition(size: int) -> None:
    matrix = random_matrix((size, size + 5))
    gram, count = matrix @ matrix.T, max(1, size // 3)
    found = _few_eigenvectors(gram, count)
    assert found is not None
    values, vectors = found
    full_values, full_vectors = np.linalg.eigh(gram)
    np.testing.assert_allclose(values, full_values[-count:], rtol=1e-11)
    np.testing.assert_allclose(np.abs((vectors * full_vectors[:, -count:]).sum(axis=0)), np.ones(count), atol=1e-10)


@pytest.mark.parametrize("values", [np.zeros(40), np.ones(40), np.repeat([0.0, 1.0, 2.0], [20, 10, 10])])
def test_eigenvectors_of_repeated_eigenvalues_are_a_basis(values: np.ndarray) -> None:
    basis = np.linalg.qr(random_matrix((40, 40)))[0]
    found = _few_eigenvectors((basis * values) @ basis.T, 15)
    assert found is not None
    np.testing.assert_allclose(found[0], values[-15:], atol=1e-12)
    np.testing.assert_allclose(found[1].T @ found[1], np.eye(15), atol=1e-12)


@pytest.mark.parametrize("step", ["dsytrd", "dstemr", "dormqr"])
def test_where_lapack_fails_the_full_decomposition_is_taken(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = random_matrix((30, 40))
    expected = truncated_svd(matrix, 5).s
    routine = getattr(lapack, step)
    monkeypatch.setattr(lapack, step, lambda *given, **named: (*routine(*given, **named)[:-1], 1))
    np.testing.assert_allclose(truncated_svd(matrix, 5).s, expected, rtol=1e-11)


def spectrum(values: list[float], seed: int = 3) -> np.ndarray:
    """A 30×20 matrix with these singular values."""
    u = np.linalg.qr(random_matrix((30, 30), seed))[0][:, : len(values)]
    v = np.linalg.qr(random_matrix((20, 20), seed + 1))[0][:, : len(values)]
    return (u * values) @ v.T


@pytest.mark.parametrize("ratio", [1e-2, 1e-4])
def test_small_directions_lose_accuracy_as_the_square_of_their_size(ratio: float) -> None:
    matrix = spectrum([1.0, 0.5, ratio])
    factor, _ = polar_factor(matrix)
    u, _, vh = torch.linalg.svd(torch.from_numpy(matrix))
    assert_close(torch.from_numpy(factor), u[:, :3] @ vh[:3], 1e-14 / ratio**2)


def test_directions_below_epsilon_are_dropped() -> None:
    matrix = spectrum([2.0, 1.0, EPSILON])
    assert truncated_svd(matrix, 3).s == pytest.approx([2.0, 1.0], rel=1e-9)
    factor, nuclear_norm = polar_factor(matrix)
    assert nuclear_norm == pytest.approx(3.0)
    np.testing.assert_allclose(np.linalg.svd(factor)[1][:3], [1, 1, 0], atol=1e-9)


def test_a_zero_matrix_has_no_directions() -> None:
    assert truncated_svd(np.zeros((4, 3)), 2).u.shape == (4, 0)
    factor, nuclear_norm = polar_factor(np.zeros((4, 3)))
    assert nuclear_norm == 0
    assert not factor.any()


@matrices
def test_product_of_polar_factors(shape: tuple[int, int]) -> None:
    u, v = random_matrix((shape[0], 9), 1), random_matrix((shape[1], 9), 2)
    s = np.linspace(3, 1, 9)
    expected = polar_factor(u)[0] @ np.diag(s) @ polar_factor(v)[0].T
    np.testing.assert_allclose(orthogonalised_product(u, s, v), expected, atol=1e-9)


def test_threads_are_given_back_when_the_last_one_leaves() -> None:
    threads = [pool["num_threads"] for pool in one_thread._pools.info()]
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
    assert all(pool["num_threads"] == 1 for pool in one_thread._pools.info())
    leave.set()
    other.join()
    assert [pool["num_threads"] for pool in one_thread._pools.info()] == threads
