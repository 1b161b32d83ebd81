# Copyright (c) Contributors to the lading.oci project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.lading.oci.plugins.plugin_utils._checked import CheckedAction


class ActionModule(CheckedAction):
    """The module, with its arguments checked, and a line that says how far it is."""
