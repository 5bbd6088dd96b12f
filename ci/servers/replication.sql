-- SPDX-License-Identifier: Apache-2.0
-- Accounts of primary and replicas, made on each by itself. May be run again.
-- app may not write where read_only is set; hproxy may.
SET SESSION sql_log_bin = OFF;
CREATE DATABASE IF NOT EXISTS test;

CREATE USER IF NOT EXISTS root@'127.0.0.1' IDENTIFIED BY 'root';
GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;
CREATE USER IF NOT EXISTS hproxy@'%' IDENTIFIED BY 'hproxy';
GRANT ALL ON *.* TO hproxy@'%' WITH GRANT OPTION;

CREATE USER IF NOT EXISTS app@'%' IDENTIFIED BY 'app';
GRANT ALL ON test.* TO app@'%';
CREATE USER IF NOT EXISTS repl@'%' IDENTIFIED BY 'repl';
GRANT REPLICATION SLAVE ON *.* TO repl@'%';
CREATE USER IF NOT EXISTS monitor@'%' IDENTIFIED BY 'monitor';
GRANT SLAVE MONITOR ON *.* TO monitor@'%';
