# SPDX-License-Identifier: Apache-2.0
"""A mutation fuzzer for everything that reads from the network."""
