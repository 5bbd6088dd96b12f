# SPDX-License-Identifier: Apache-2.0
"""The MySQL load benchmark: `python -m bench.load.mysql --help`."""
