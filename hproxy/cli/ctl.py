# SPDX-License-Identifier: Apache-2.0
"""`hproxy ctl`: look at a running service and steer it, over its HTTP API.

    ctl ── show       ctl_show      status, sessions, backends, ... and any table
        ├─ order      ctl_order     drain, reload, upgrade, kill, ...
        ├─ change     ctl_change    rows, variables, statuses, versions
        └─ profile    ctl_profile   CPU, memory, tasks

Exit status: 0 done, 1 refused or not reached (and why, on stderr), 2 a wrong command line.
"""

from __future__ import annotations

import click

from hproxy.cli import ctl_change, ctl_order, ctl_profile, ctl_show
from hproxy.cli.remote import remote_options

__all__ = ["ctl"]

EXAMPLES = """\b
Examples:
  hproxy ctl status
  hproxy ctl backends
  hproxy ctl set-status 10.0.0.1:3306 OFFLINE_SOFT
  hproxy ctl digests --limit 5 --json
  hproxy ctl drain --deadline 30
  hproxy ctl --url https://proxy:6080 --ca ca.pem reload
"""


@click.group(short_help="Look at a running service and steer it.", epilog=EXAMPLES)
@remote_options
def ctl() -> None:
    """Look at a running service and steer it.

    It is found by --url or HPROXY_URL, else by the configuration (-c FILE, HPROXY_CONFIG); so is
    the token. On the proxy's machine, as its user, nothing needs to be given.
    """


for _module in (ctl_show, ctl_order, ctl_change):
    for _command in _module.COMMANDS:
        ctl.add_command(_command)
ctl.add_command(ctl_profile.profile)
