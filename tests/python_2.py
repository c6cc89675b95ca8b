"""Pickles as Python 2 wrote them, which this Python cannot write."""

from __future__ import annotations

import struct

import numpy as np


def pickled_batch(data: np.ndarray, labels: list[int], key: str) -> bytes:
    """A CIFAR batch as Python 2 pickled it: byte strings, arrays through _reconstruct."""
    raw = data.tobytes()
    return b"".join(
        [
            b"\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01",
            b"M" + struct.pack("<H", len(data)) + b"M" + struct.pack("<H", data.shape[1]) + b"\x86",
            b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",
            b"\x89T" + struct.pack("<i", len(raw)) + raw + b"tb",
            b"U" + bytes([len(key)]) + key.encode() + b"](" + b"".join(b"K" + bytes([x]) for x in labels) + b"eu.",
        ]
    )
