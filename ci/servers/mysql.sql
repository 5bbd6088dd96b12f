-- SPDX-License-Identifier: Apache-2.0
-- Accounts of the MySQL 9 test server, which knows caching_sha2_password. May be run again.
CREATE DATABASE IF NOT EXISTS test;

CREATE USER IF NOT EXISTS root@'127.0.0.1' IDENTIFIED BY 'root';
GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;
CREATE USER IF NOT EXISTS hproxy@'%' IDENTIFIED BY 'hproxy';
GRANT ALL ON *.* TO hproxy@'%' WITH GRANT OPTION;

CREATE USER IF NOT EXISTS sha2@'%' IDENTIFIED WITH caching_sha2_password BY 'sha2';
GRANT ALL ON test.* TO sha2@'%';

CREATE USER IF NOT EXISTS 'empty'@'%' IDENTIFIED BY '';
GRANT ALL ON test.* TO 'empty'@'%';
