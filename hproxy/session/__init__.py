# SPDX-License-Identifier: Apache-2.0
"""One client's conversation: login, the slow points of its commands, its end."""
