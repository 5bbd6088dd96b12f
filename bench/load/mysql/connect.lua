-- SPDX-License-Identifier: Apache-2.0
-- A client that never keeps a connection: connect, SELECT 1, quit.

function thread_init()
   driver = sysbench.sql.driver()
end

function event()
   local connection = driver:connect()
   connection:query("SELECT 1")
   connection:disconnect()
end
