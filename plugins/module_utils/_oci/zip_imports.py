# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Imports by several threads out of a zip, which is what Ansible sends, on a Python older than 3.10.

There ``zipimport`` loads modules in a way of its own, without a sign that a module is still being made: a second thread gets it without
its names. Loaded as importlib loads all others, the second one waits.
"""

from __future__ import annotations

import typing as t
import zipimport


def let_threads_wait() -> None:
    loader: t.Any = zipimport.zipimporter
    if not hasattr(loader, "exec_module"):
        loader.create_module = _create_module
        loader.exec_module = _exec_module


def _create_module(loader: t.Any, spec: t.Any) -> None:
    """Importlib's own kind of module."""


def _exec_module(loader: t.Any, module: t.Any) -> None:
    exec(loader.get_code(module.__name__), module.__dict__)
