# SPDX-License-Identifier: Apache-2.0
"""Isolation torture: many sessions held twice, directly and through a proxy, step by step.

step       what a session can do, as values that can be printed and read back
actor      one side of a session: a connection, its prepared statements, its names
stage      the databases both sides play in, equal but for one letter of their names
variables  which session variables a server lets be set, and to what
phrases_*  what sessions do: short sequences that belong together
writer     one session's endless script, from a seed
campaign   interleaves sessions, compares every frame
shrink     the shortest history that still differs
verdict    all of it for a test
observed   a proxy that answers questions about itself
"""
