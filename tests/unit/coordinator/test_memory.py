"""What is large goes back to the system when it is free, also after something larger was freed before."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, sys
from ferryman_coordinator.memory import give_back_what_is_large
if sys.argv[1] == "tuned":
    give_back_what_is_large()
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.malloc.argtypes = [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]
library.free(library.malloc(4 << 20))
block = library.malloc(1 << 20)
lines = [line.split() for line in open("/proc/self/maps")]
heap = next(line[0] for line in lines if line[-1] == "[heap]")
begin, end = (int(place, 16) for place in heap.split("-"))
print(begin <= block < end)
"""


@pytest.mark.parametrize("tuned, is_in_the_heap", [("tuned", "False"), ("as it is", "True")])
def test_large_blocks_are_no_part_of_a_heap(tuned: str, is_in_the_heap: str) -> None:
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("this is about the allocator of glibc")
    done = subprocess.run([sys.executable, "-c", PROGRAM, tuned], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == is_in_the_heap
