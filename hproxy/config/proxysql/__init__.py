# SPDX-License-Identifier: Apache-2.0
"""ProxySQL's configuration described as data: tables, modules, variables, and its file format.

    table      Column, Table           catalogue  every table, by database
    variable   Variable                variables  every mysql- and admin- variable
    module     what LOAD and SAVE move values     the live values
    rows       Config <-> rows         cnf        proxysql.cnf <-> rows

Nothing here knows a socket, a database or a clock.
"""
