# SPDX-License-Identifier: Apache-2.0
"""Sockets: who may open, name and secure them."""
