"""Arrays as bytes that carry their own check."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import safetensors.numpy

Arrays = dict[str, npt.NDArray[np.generic]]

_SEAL, _CHECK = b"RI-1", 16  # before an answer's bytes: what says that a check follows, and the check's length

_NPZ = b"PK"


def sealed(arrays: Mapping[str, npt.NDArray[np.generic]]) -> bytes:
    """Return arrays as bytes that carry their own check.

    They are safetensors, which are read ten times as fast as npz, or npz where they hold text.
    """
    if any(array.dtype.kind == "U" for array in arrays.values()):
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        data = buffer.getvalue()
    else:
        data = safetensors.numpy.save({name: np.asarray(array, order="C") for name, array in arrays.items()})
    return _SEAL + _check(data) + data


def unsealed(value: object) -> Arrays | None:
    """Return the arrays that `sealed` made bytes of; None where they are not what they were.

    What was kept before there was a seal is an npz file, whose parts have checks of their own.
    """
    if not isinstance(value, bytes):
        return None
    start = len(_SEAL) + _CHECK
    data = value[start:] if value.startswith(_SEAL) else value
    if data is not value and value[len(_SEAL) : start] != _check(data):
        return None
    try:
        if not data.startswith(_NPZ):
            return dict(safetensors.numpy.load(data))
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception:  # zipfile, numpy and safetensors raise nearly anything for bytes that are not theirs
        return None


def _check(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_CHECK).digest()
