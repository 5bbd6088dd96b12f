# SPDX-License-Identifier: Apache-2.0
"""One folder per database protocol; none knows another, none does input or output."""
