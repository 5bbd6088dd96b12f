# SPDX-License-Identifier: Apache-2.0
"""Load benchmarks: what every protocol needs to measure proxies side by side."""
