# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible's commands as a person runs them."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import typing as t


def run_ansible(program: str, arguments: t.Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(pathlib.Path(sys.executable).parent / program), *arguments]
    collections = os.environ["PYTHONPATH"].split(os.pathsep)[0]
    values = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": collections, "ANSIBLE_NOCOLOR": "1", **environment}
    return subprocess.run(command, capture_output=True, text=True, env=values, check=False, timeout=300)


def run_playbook(arguments: t.Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return run_ansible("ansible-playbook", arguments, **environment)
