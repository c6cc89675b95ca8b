from __future__ import annotations

import subprocess
import sys

import pytest

from ri_analysis.arenas import ARENAS

# Each of many threads holds memory while the others ask for theirs; glibc then says how many arenas there are.
SCRIPT = """
import ctypes, os, sys, threading
from ri_analysis.arenas import bound_arenas
if sys.argv[1] == "bound":
    bound_arenas()
together = threading.Barrier(24)
def work():
    blocks = [bytearray(5000 + number) for number in range(50)]
    together.wait()
threads = [threading.Thread(target=work) for _ in range(24)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
read, write = os.pipe()
stream = ctypes.c_void_p(libc.fdopen(write, b"w"))
libc.malloc_info(0, stream)
libc.fclose(stream)
print(os.read(read, 1 << 20).decode().count("<heap nr="))
"""


def arenas(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_threads_share_a_few_arenas():
    assert arenas("not") > ARENAS
    assert arenas("bound") <= ARENAS
