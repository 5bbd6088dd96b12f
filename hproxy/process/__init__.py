# SPDX-License-Identifier: Apache-2.0
"""Processes and what the operating system tells them."""
