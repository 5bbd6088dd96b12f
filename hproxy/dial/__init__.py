# SPDX-License-Identifier: Apache-2.0
"""Conversations with servers: a login performed step by step, and questions of our own.

converse.py   performs what a login machine asks for, on whichever channels it is given
probe.py      a connection of ours: logged in, asked, pinged; for monitors
"""
