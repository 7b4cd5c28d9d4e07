-- SPDX-License-Identifier: MIT
--
-- server.lua: the PostgreSQL server that one worker of tools/test.sh runs its spec files against, one after the
-- other.  Prints where it is as "directory|port|user|pid", and ends with its standard input.

local cluster = require("fastpg.cluster").start{ settings = { max_connections = 200 } }
local at = cluster.conninfo
io.write(("%s|%s|%s|%d\n"):format(at.host, at.port, at.user, cluster.pid))
io.flush()
io.read "*a"
cluster:close()
