# SPDX-License-Identifier: Apache-2.0
"""Programs of restapi_routes as answers to HTTP requests, on a port of their own.

program.py   one program: run, bounded, ended with all it has started
app.py       /sync/<uri> and /metrics
rest.py      the port, opened and closed as variables say
"""

from hproxy.control.rest.rest import Rest

__all__ = ["Rest"]
