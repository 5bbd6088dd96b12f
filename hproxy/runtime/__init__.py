# SPDX-License-Identifier: Apache-2.0
"""The composition root: puts a configuration to work."""

from hproxy.runtime.runtime import Runtime

__all__ = ["Runtime"]
