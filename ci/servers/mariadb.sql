-- SPDX-License-Identifier: Apache-2.0
-- Accounts of the MariaDB test server: one per authentication plugin. May be run again.
CREATE DATABASE IF NOT EXISTS test;

CREATE USER IF NOT EXISTS root@'127.0.0.1' IDENTIFIED BY 'root';
GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;
CREATE USER IF NOT EXISTS hproxy@'%' IDENTIFIED BY 'hproxy';
GRANT ALL ON *.* TO hproxy@'%' WITH GRANT OPTION;

INSTALL PLUGIN IF NOT EXISTS ed25519 SONAME 'auth_ed25519';
CREATE USER IF NOT EXISTS ed@'%' IDENTIFIED VIA ed25519 USING PASSWORD('ed');
GRANT ALL ON test.* TO ed@'%';

CREATE USER IF NOT EXISTS native@'%' IDENTIFIED VIA mysql_native_password USING PASSWORD('native');
GRANT ALL ON test.* TO native@'%';

CREATE USER IF NOT EXISTS 'empty'@'%' IDENTIFIED BY '';
GRANT ALL ON test.* TO 'empty'@'%';
