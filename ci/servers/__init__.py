# SPDX-License-Identifier: Apache-2.0
"""Database servers on loopback for tests and benchmarks; `ci/services` is the command.

place.py     addresses, accounts' folder, where data and downloads live
daemon.py    one background process: start, find again, stop, wait until it answers
mariadb.py   MariaDB from Debian        mysql9.py   MySQL 9, unpacked from Debian sid by sid.py
replication.py  a MariaDB primary and two replicas, only when asked for
clusters.py    clusters of one node: Group Replication, Galera; likewise
haproxy.py   HAProxy in TCP mode before both, the proxy we are measured against
*.cnf, *.sql what the servers run with, and the accounts every test may count on
"""
