# SPDX-License-Identifier: Apache-2.0
"""The admin database: ProxySQL's tables and commands, stricter and better explained."""

from hproxy.admin.console.database import ConfigFile, ConsoleDatabase, LoadReport, Port
from hproxy.admin.console.file import File

__all__ = ["ConfigFile", "ConsoleDatabase", "File", "LoadReport", "Port"]
