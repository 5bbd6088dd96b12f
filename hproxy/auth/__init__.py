# SPDX-License-Identifier: Apache-2.0
"""Who may come in; knows no protocol and does no I/O."""

from hproxy.auth.users import Account, UserTable

__all__ = ["Account", "UserTable"]
