from __future__ import annotations

import numpy as np
import pytest
import torch
from random_experts import assert_close, matrices
from scipy.linalg import lapack

from ri_analysis.merging.factorisation import (
    EPSILON,
    WELL_CONDITIONED,
    _few_eigenvectors,
    left_singular_vectors,
    orthogonalised_product,
    orthonormalised,
    orthonormalised_product,
    polar_factor,
    truncated_svd,
    truncated_svd_outside,
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
    exact = float(s[0] / s[-1]) > WELL_CONDITIONED
    assert_close(torch.from_numpy(factor), u @ vh, 1e-9 if exact else 3e-6)
    assert nuclear_norm == pytest.approx(float(s.sum()), rel=1e-9 if exact else 1e-6)


@pytest.mark.parametrize("condition", [1.0, 0.99 * WELL_CONDITIONED, 1.01 * WELL_CONDITIONED, 1e3])
@pytest.mark.parametrize("tall", [True, False])
def test_single_precision_is_for_well_conditioned_matrices(condition: float, tall: bool) -> None:
    u = np.linalg.qr(random_matrix((200, 200), 1))[0]
    v = np.linalg.qr(random_matrix((500, 200), 2))[0]
    matrix = (u * np.linspace(condition, 1, 200)) @ v.T
    factor, _ = polar_factor(matrix.T if tall else matrix)
    single = condition < WELL_CONDITIONED
    assert factor.dtype == (np.float32 if single else np.float64)
    expected = torch.from_numpy(u @ v.T)
    assert_close(torch.from_numpy(factor.T if tall else factor), expected, 3e-6 if single else 1e-10)


def test_a_matrix_that_only_its_spectrum_betrays_is_factorised_in_double_precision() -> None:
    # Kahan's kind of matrix: its Gram matrix has Cholesky pivots of 1, but is far from well conditioned.
    upper = np.eye(12) - 0.9 * np.triu(np.ones((12, 12)), 1)
    assert np.linalg.cond(upper) > 1e3
    factor, _ = polar_factor(np.ascontiguousarray(upper.T))
    u, _, vh = np.linalg.svd(upper.T)
    assert_close(torch.from_numpy(factor), torch.from_numpy(u @ vh), 1e-6)
    assert factor.dtype == np.float64


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


@pytest.mark.parametrize("values", [np.ones(40), np.repeat([0.0, 1.0, 2.0], [20, 10, 10])])
def test_eigenvectors_of_repeated_eigenvalues_are_a_basis(values: np.ndarray) -> None:
    basis = np.linalg.qr(random_matrix((40, 40)))[0]
    found = _few_eigenvectors((basis * values) @ basis.T, 15)
    assert found is not None
    np.testing.assert_allclose(found[0], values[-15:], atol=1e-12)
    np.testing.assert_allclose(found[1].T @ found[1], np.eye(15), atol=1e-12)


def test_a_basis_that_is_none_is_refused() -> None:
    assert _few_eigenvectors(np.zeros((40, 40)), 15) is None  # inverse iteration has nothing to go by


@pytest.mark.parametrize("step", ["dsytrd", "dsterf", "dstein", "dormqr"])
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
    expected = polar(u) @ np.diag(s) @ polar(v).T
    assert_close(torch.from_numpy(orthogonalised_product(u, s, v)), torch.from_numpy(expected), 3e-6)
    basis = orthonormalised(u)
    np.testing.assert_allclose(basis, polar(u), atol=3e-6)
    found = orthonormalised_product(basis * 2, v)
    assert_close(torch.from_numpy(found), torch.from_numpy(2 * polar(u) @ polar(v).T), 3e-6)


@pytest.mark.parametrize("shape", [(24, 60), (60, 24), (32, 32)])
def test_product_of_ill_conditioned_polar_factors(shape: tuple[int, int]) -> None:
    rank = min(shape)
    u, v = (random_matrix((side, rank), n) @ np.diag(np.logspace(0, -3, rank)) for n, side in enumerate(shape))
    s = np.linspace(3, 1, rank)
    expected = polar(u) @ np.diag(s) @ polar(v).T
    assert_close(torch.from_numpy(orthogonalised_product(u, s, v)), torch.from_numpy(expected), 1e-6)


def polar(matrix: np.ndarray) -> np.ndarray:
    u, _, vh = np.linalg.svd(matrix, full_matrices=False)
    return u @ vh


def test_svd_outside_a_subspace_is_that_of_the_projected_matrix() -> None:
    matrix, basis = random_matrix((60, 24)), np.linalg.qr(random_matrix((60, 10), 1))[0]
    rest = matrix - basis @ (basis.T @ matrix)
    found, expected = truncated_svd_outside(matrix, basis, 6, 0.0), truncated_svd(rest, 6)
    np.testing.assert_allclose(found.s, expected.s, rtol=1e-10)
    np.testing.assert_allclose((found.u * found.s) @ found.v.T, (expected.u * expected.s) @ expected.v.T, atol=1e-8)
    inside = basis @ random_matrix((10, 24))
    assert truncated_svd_outside(inside, basis, 6, EPSILON * float(np.linalg.norm(inside))).s.size == 0
