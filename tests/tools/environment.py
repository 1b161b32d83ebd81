# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes a virtual environment with the newest Python that is here, unless it is there and current.

    environment.py FOLDER REQUIREMENTS_FILE [PYTHON]

Prints nothing when there is nothing to do. What is missing is one line, and exit code 1. Runs on any Python 3.6 or newer.
uv installs what is needed where it is on PATH, in less than half of the time; pip where it is not.
"""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

CANDIDATES = ("python3.14", "python3.13", "python3.12", "python3.11", "python3")
OLDEST = (3, 11)  # what ansible-core 2.19 needs


class Missing(Exception):
    pass


def version_of(python):
    """(major, minor) of an interpreter that really runs (a pyenv shim may be there and not run), else None."""
    code = "import sys, ensurepip, venv; print(*sys.version_info[:2])"
    try:
        done = subprocess.run([python, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    major, minor = done.stdout.split()
    return int(major), int(minor)


def managed_pythons():
    """Those of pyenv, where it is."""
    versions = pathlib.Path(os.environ.get("PYENV_ROOT") or pathlib.Path.home() / ".pyenv") / "versions"
    return [str(path) for path in versions.glob("3.*/bin/python3")]


def python_of(versions):
    """An interpreter of the first of these (major, minor) that is here; the system's before others, which are often built without
    optimisation and a third slower."""
    names = ["python{}.{}".format(*version) for version in versions]
    for version, name in zip(versions, names):
        for python in ["/usr/bin/" + name, name, *managed_pythons()]:
            if version_of(python) == version:
                return python
    raise Missing(f"{' or '.join(names)} with its venv module is not on this machine")


def newest_python(wanted, oldest=OLDEST):
    names = [wanted] if wanted else [*CANDIDATES, *managed_pythons()]
    found = {name: version_of(name) for name in names}
    usable = {name: version for name, version in found.items() if version and version >= oldest}
    if not usable:
        what = f"{wanted} is not a Python" if wanted else "No Python was found that is"
        which = "{}.{} or newer with its venv module".format(*oldest)
        raise Missing(f"{what} {which}. Install one (Debian: apt-get install python3-venv), or name one: make PYTHON=...")
    return max(usable, key=lambda name: usable[name])


def make(folder, requirements, wanted, oldest=OLDEST):
    python = newest_python(wanted, oldest)
    stamp = folder / "made-of"
    state = f"{shutil.which(python)} {version_of(python)} {hashlib.sha256(requirements.read_bytes()).hexdigest()}"
    if stamp.exists() and stamp.read_text() == state:
        return
    print(f"Making {folder} with {python} ...", flush=True)
    shutil.rmtree(str(folder), ignore_errors=True)
    name, command = installer(str(folder / "bin" / "python"))
    # To put pip there takes longer than all that uv does.
    subprocess.run([python, "-m", "venv", *(["--without-pip"] if name == "uv" else []), str(folder)], check=True)
    done = subprocess.run([*command, "--requirement", str(requirements)], check=False)
    if done.returncode != 0:
        raise Missing(f"{name} could not install what {requirements.name} lists: its own message is above.")
    stamp.write_text(state)


def write_requirements(file, *more):
    """What unit tests need, beside these."""
    units = pathlib.Path(__file__).resolve().parents[1] / "unit" / "requirements.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join([*more, "pytest", "pytest-xdist", "pyyaml", units.read_text()]))


def installer(python):
    """Its name, and the command that installs for this interpreter."""
    uv = shutil.which("uv")
    if uv:
        # Compiled, as pip leaves it: ansible-test has Python keep nothing that it compiles later.
        return "uv", [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python]
    return "pip", [python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]


def main():
    folder, requirements = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    try:
        make(folder, requirements, sys.argv[3] if len(sys.argv) > 3 else "")
    except Missing as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
