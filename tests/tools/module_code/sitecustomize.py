# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Python compiles of an archive it keeps, where this folder is in PYTHONPATH and LADING_TEST_CODE names one to keep it in.

Ansible sends a module as an archive, and Python keeps nothing of what it imports from archives: it compiles each file anew, and twice
(for the file's name, and for its code). That is half of what a task of a test costs. What is kept is named by what it was made of, so
that it is as Python's own ``__pycache__``; only a traceback's path can be that of an earlier run.
"""

from __future__ import annotations

import marshal
import os
import sys
import types
import zipimport

FOLDER = os.environ.get("LADING_TEST_CODE")


class Importer(zipimport.zipimporter):
    def get_filename(self, fullname: str) -> str:
        path = os.path.join(self.archive, self.prefix, fullname.rpartition(".")[2])
        return os.path.join(path, "__init__.py") if self.is_package(fullname) else f"{path}.py"

    def get_code(self, fullname: str) -> types.CodeType | None:
        import hashlib  # not by each Python of the tests, of which few import from an archive

        source = self.get_source(fullname)
        if source is None:  # it is compiled already
            return super().get_code(fullname)
        made_of = f"{sys.version}\0{fullname}\0{source}"
        kept = os.path.join(str(FOLDER), hashlib.sha256(made_of.encode()).hexdigest())
        try:
            with open(kept, "rb") as file:
                return marshal.load(file)
        except FileNotFoundError:
            pass  # it is the first that imports this
        code = compile(source, self.get_filename(fullname), "exec", dont_inherit=True)
        written = f"{kept}.{os.getpid()}"
        with open(written, "wb") as file:
            marshal.dump(code, file)
        os.replace(written, kept)
        return code


def importer(path: str) -> Importer:
    if f".zip{os.sep}" not in f"{path}{os.sep}":
        raise ImportError(f"{path} is no archive")
    return Importer(path)


if FOLDER:
    sys.path_hooks.insert(0, importer)
