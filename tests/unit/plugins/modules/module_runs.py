# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules as Ansible runs them, in this process."""

from __future__ import annotations

import json
import os
import pathlib
import tempfile
import typing as t

import pytest
from ansible.module_utils.testing import patch_module_args

Result = t.Dict[str, t.Any]


def without_settings(monkeypatch: pytest.MonkeyPatch, home: pathlib.Path) -> None:
    """Nothing of the user who runs the tests: no credentials, no proxies, no build time."""
    for name in list(os.environ):
        if (
            name.startswith(("XDG_", "DOCKER_"))
            or name.endswith(("_proxy", "_PROXY"))
            or name in ("REGISTRY_AUTH_FILE", "SOURCE_DATE_EPOCH")
        ):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))


class Run:
    """``run(arguments)`` of one module: its result, whether it failed or not."""

    def __init__(self, main: t.Callable[[], None], capsys: pytest.CaptureFixture[str]) -> None:
        self._main = main
        self._capsys = capsys

    def __call__(self, arguments: t.Mapping[str, t.Any], check: bool = False) -> Result:
        # One that the module makes itself is there until the process ends, and that of a test that was forked ends without a word.
        with tempfile.TemporaryDirectory() as folder:
            internal = {"_ansible_check_mode": check, "_ansible_diff": True, "_ansible_tmpdir": folder}
            with patch_module_args({**arguments, **internal}), pytest.raises(SystemExit):
                self._main()
        result = json.loads(self._capsys.readouterr().out)
        assert "Traceback" not in str(result)
        # From ansible-core 2.22 on: what the controller, which takes it out, has to mask.
        result.pop("_ansible_new_secrets", None)
        return result

    def done(self, arguments: t.Mapping[str, t.Any], check: bool = False) -> Result:
        result = self(arguments, check)
        assert not result.get("failed"), result
        return result

    def failed(self, arguments: t.Mapping[str, t.Any], check: bool = False) -> str:
        result = self(arguments, check)
        assert result.get("failed"), result
        return t.cast(str, result["msg"])
