"""A clock that steps, for a mesh alone: the machine's own stays as it is.

Each program of a local mesh is started through `setpriv`, found on the PATH; ours puts a library in front of the C
library whose time of day is off by the seconds in a file. nats-server asks the kernel itself and keeps the true time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

_SOURCE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long long offset_s(void)
{
    static const volatile long long *shared;
    if (!shared) {
        int file = open(CLOCK_FILE, O_RDONLY);
        void *page = file < 0 ? MAP_FAILED : mmap(0, sizeof *shared, PROT_READ, MAP_SHARED, file, 0);
        static const long long none = 0;
        shared = page == MAP_FAILED ? &none : page;
        if (file >= 0) close(file);
    }
    return *shared;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (!result && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += offset_s();
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec precise;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now)
{
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (now) *now = precise.tv_sec;
    return precise.tv_sec;
}
"""


def with_own_clock(directory: Path) -> Mapping[str, str]:
    """Return the settings of a mesh whose clock `step` can move. Needs a C compiler and setpriv."""
    folder = directory / "clock"
    folder.mkdir()
    step(directory, 0)
    library, source = folder / "clock.so", folder / "clock.c"
    source.write_text(_SOURCE)
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang", "c++", "g++"))), None)
    setpriv = shutil.which("setpriv")
    assert compiler, "no C compiler on the PATH"
    assert setpriv, "no setpriv on the PATH"
    defined = f'-DCLOCK_FILE="{folder / "offset"}"'
    subprocess.run([compiler, "-x", "c", "-shared", "-fPIC", "-O1", defined, "-o", library, source], check=True)
    for path in (directory, folder, library, folder / "offset"):  # the database runs as another user
        path.chmod(0o755)
    wrapper = folder / "setpriv"
    wrapper.write_text(f'#!/bin/sh\nLD_PRELOAD={library} exec {setpriv} "$@"\n')
    wrapper.chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def step(directory: Path, seconds: int) -> None:
    """Let the mesh's time of day be so many seconds ahead of the true one from now on."""
    path = directory / "clock" / "offset"
    with path.open("r+b" if path.exists() else "wb") as file:
        file.write(seconds.to_bytes(8, "little", signed=True))
