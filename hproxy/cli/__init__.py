# SPDX-License-Identifier: Apache-2.0
"""The command line: `hproxy run`, `check`, `config`, `demo`, `version`."""
