# Copyright (c) Contributors to the lading.oci project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every module of the collection promises."""

from __future__ import annotations


class ModuleDocFragment:
    """Attributes of the modules."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    support: full
    description:
      - Says exactly what the run would do, and changes nothing.
  diff_mode:
    support: full
    description:
      - Shows the names and the content before and after.
  idempotent:
    support: full
    description:
      - When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
  platform:
    platforms: posix
    support: full
    description:
      - Target systems that can be operated against. No daemon and no binary is needed there.
"""

    INFO_MODULE = r"""
options: {}
attributes:
  check_mode:
    support: full
    description:
      - Nothing is ever changed.
  diff_mode:
    support: N/A
    description:
      - Nothing is ever changed.
  idempotent:
    support: full
    description:
      - Nothing is ever changed.
  platform:
    platforms: posix
    support: full
    description:
      - Target systems that can be operated against. No daemon and no binary is needed there.
"""

    ACTIONGROUP_REGISTRY = r"""
options: {}
attributes:
  action_group:
    support: full
    membership:
      - lading.oci.registry
    description:
      - Use C(group/lading.oci.registry) in C(module_defaults) to set the registry options of this module once.
"""

    PROGRESS = r"""
options: {}
notes:
  - In a terminal, work of more than some seconds shows a line with the bytes done, the rate and the time left, which is gone when the
    task is. The variable C(lading_oci_progress=false) switches it off. Nothing of it is printed or logged otherwise, nor in check mode.
"""
