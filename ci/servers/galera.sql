-- SPDX-License-Identifier: Apache-2.0
-- Accounts of the Galera node. May be run again.
CREATE DATABASE IF NOT EXISTS test;
CREATE USER IF NOT EXISTS root@'127.0.0.1' IDENTIFIED BY 'root';
GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;
CREATE USER IF NOT EXISTS hproxy@'%' IDENTIFIED BY 'hproxy';
GRANT ALL ON *.* TO hproxy@'%' WITH GRANT OPTION;
CREATE USER IF NOT EXISTS monitor@'%' IDENTIFIED BY 'monitor';
