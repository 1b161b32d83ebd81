# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: BSD-2-Clause
# This module util is **PRIVATE** to the collection: it can change in any release.

"""Programs of this host that some options need."""

from __future__ import annotations

import os
import shutil
import typing as t

from .spec.errors import NotFoundError

# (return code, standard output, standard error), as AnsibleModule.run_command gives them.
RunCommand = t.Callable[..., t.Tuple[int, str, str]]


def program_path(name: str, given: t.Optional[str], option: str, needed: str) -> str:
    """``given``, what the user's ``option`` says, or else the program ``name`` on PATH. ``needed``: what the error begins with.

    Raises NotFoundError.
    """
    if given is not None:
        if not (os.path.isfile(given) and os.access(given, os.X_OK)):
            raise NotFoundError(f"{option}: no program at {given}")
        return given
    found = shutil.which(name)
    if found is None:
        raise NotFoundError(f"{needed} is not on PATH of this host: install it, or name it by {option}")
    return found
