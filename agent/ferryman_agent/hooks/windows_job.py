"""Job objects: all processes of one script, ended together, and what they took from the machine."""

from __future__ import annotations

import ctypes
from typing import Any

from ferryman_agent.core.messages import ResourceUsage
from ferryman_agent.system import windows_calls as calls

_BASIC_AND_IO, _EXTENDED_LIMITS = 8, 9
_TICKS_IN_MS = 10_000


class _Accounting(ctypes.Structure):
    _fields_ = (
        ("user_time", ctypes.c_int64),
        ("kernel_time", ctypes.c_int64),
        ("period_user_time", ctypes.c_int64),
        ("period_kernel_time", ctypes.c_int64),
        ("page_faults", ctypes.c_uint32),
        ("total_processes", ctypes.c_uint32),
        ("active_processes", ctypes.c_uint32),
        ("terminated_processes", ctypes.c_uint32),
        ("read_operations", ctypes.c_uint64),
        ("write_operations", ctypes.c_uint64),
        ("other_operations", ctypes.c_uint64),
        ("read_bytes", ctypes.c_uint64),
        ("written_bytes", ctypes.c_uint64),
        ("other_bytes", ctypes.c_uint64),
    )


class _Limits(ctypes.Structure):
    _fields_ = (
        ("process_user_time", ctypes.c_int64),
        ("job_user_time", ctypes.c_int64),
        ("flags", ctypes.c_uint32),
        ("least_working_set", ctypes.c_size_t),
        ("most_working_set", ctypes.c_size_t),
        ("most_processes", ctypes.c_uint32),
        ("affinity", ctypes.c_size_t),
        ("priority", ctypes.c_uint32),
        ("scheduling", ctypes.c_uint32),
        ("io", ctypes.c_uint64 * 6),
        ("process_memory", ctypes.c_size_t),
        ("job_memory", ctypes.c_size_t),
        ("peak_process_memory", ctypes.c_size_t),
        ("peak_job_memory", ctypes.c_size_t),
    )


class Job:
    """One job. It does not end its processes when it is closed: what a script leaves running goes on (AG-416)."""

    def __init__(self, handle: int) -> None:
        self._handle = ctypes.c_void_p(handle)

    @classmethod
    def holding(cls, process: ctypes.c_void_p) -> Job:
        """Makes a job and puts a process into it. Raises OSError."""
        create = _kernel().CreateJobObjectW
        create.restype = ctypes.c_void_p
        handle = create(None, None)
        if not handle:
            raise calls.failure()
        job = cls(handle)
        if not _kernel().AssignProcessToJobObject(job._handle, process):
            problem = calls.failure()
            job.close()
            raise problem
        return job

    def count(self) -> int:
        """How many of its processes run."""
        return int(self._accounting().active_processes)

    def usage(self) -> ResourceUsage:
        """What its processes took so far; memory at its peak, as committed to all of them together."""
        found, limits = self._accounting(), _Limits()
        self._ask(_EXTENDED_LIMITS, limits)
        return ResourceUsage(
            peak_memory_bytes=int(limits.peak_job_memory) or None,
            cpu_ms=(found.user_time + found.kernel_time) // _TICKS_IN_MS,
            read_bytes=int(found.read_bytes),
            written_bytes=int(found.written_bytes),
        )

    def end(self, code: int) -> None:
        """Ends all of its processes at once, with this exit code."""
        _kernel().TerminateJobObject(self._handle, code)

    def close(self) -> None:
        """Lets go of the job; its processes are left alone."""
        _kernel().CloseHandle(self._handle)

    def _accounting(self) -> Any:
        found = _Accounting()
        self._ask(_BASIC_AND_IO, found)
        return found

    def _ask(self, what: int, answer: ctypes.Structure) -> None:
        # Where the system does not say, the numbers stay 0.
        _kernel().QueryInformationJobObject(
            self._handle, what, ctypes.byref(answer), ctypes.sizeof(answer), None
        )


def _kernel() -> Any:
    return calls.library("kernel32")
