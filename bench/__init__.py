# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: `load` measures whole proxies under traffic, `micro` single functions."""
