# SPDX-License-Identifier: Apache-2.0
"""The HTTP API: what operators and programs see and change without speaking SQL.

`server.Http` is all the rest of the program needs; the web framework is imported by what it starts,
and by nobody before.
"""
