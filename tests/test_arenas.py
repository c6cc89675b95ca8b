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


FREED = """
import re
from pathlib import Path
from ri_analysis.arenas import give_back
def taken(): return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1000
blocks = [bytearray(50_000) for _ in range(4_000)]
kept = blocks[::40]
full = taken()
del blocks
before = taken()
give_back()
print(full, before, taken())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_what_is_freed_between_what_is_held_goes_back_to_the_system():
    done = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True)
    full, before, after = map(int, done.stdout.split())
    assert before > full - 100  # of 200 MB, all between blocks that are held
    assert after < full - 150
