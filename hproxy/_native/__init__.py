# SPDX-License-Identifier: Apache-2.0
"""The compiled modules: what each offers (.pxd to C, .pyi to Python); how is in `/_native`."""
