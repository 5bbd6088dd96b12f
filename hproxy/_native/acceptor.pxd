# SPDX-License-Identifier: Apache-2.0
# The map of acceptor: takes connections off a listening socket. Only Python calls it.
#
# Memory: nothing is kept; the caller owns the descriptor it is given.
# Failure: OSError, but for what says "nobody there any more". The GIL is held.
