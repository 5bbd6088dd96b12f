# SPDX-License-Identifier: Apache-2.0
"""Configuration: one model of every option, and the reader of file, environment and flags."""

from hproxy.config.address import Address, parse_address, parse_backend, parse_listen
from hproxy.config.load import load_config
from hproxy.config.schema import Config

__all__ = [
    "Address",
    "Config",
    "load_config",
    "parse_address",
    "parse_backend",
    "parse_listen",
]
