"""Debian programs that tests need, installed where they are missing and this user may install."""

import functools
import os
import shutil
import subprocess

import pytest


def need(program: str, why: str, *packages: str) -> str:
    """Where the program is; the test fails where there is none, and says what is to be done."""
    place = find(program, *packages)
    if place is None:
        pytest.fail(f"{why}. Install it: apt-get install {' '.join(packages)}", pytrace=False)
    return place


@functools.cache
def find(program: str, *packages: str) -> str | None:
    """Where the program is, None where there is none. Asked once in a process, since apt-get may need long to say
    no."""
    apt_get = shutil.which("apt-get")
    if (place := shutil.which(program)) is not None or apt_get is None or os.geteuid() != 0:
        return place
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    wait = ("-o", "DPkg::Lock::Timeout=60")
    install = [apt_get, "install", "-y", "-qq", *wait, "--no-install-recommends", *packages]
    # A fresh machine has no package lists yet, so a first failure is worth one update.
    for command in (install, [apt_get, "update", "-qq"], install):
        nothing = subprocess.DEVNULL  # what goes wrong, apt-get says on stderr
        subprocess.run(command, stdin=nothing, stdout=nothing, env=quiet, check=False)
        if (place := shutil.which(program)) is not None:
            break
    return place
