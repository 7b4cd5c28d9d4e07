-- SPDX-License-Identifier: MIT
--
-- server.lua: the PostgreSQL server that one worker of tools/test.sh runs its spec files against, one after the
-- other.  Prints where it is as "directory|port|user|pid", on a line before it the data directory that the specs' own
-- clusters begin with (fastpg.cluster), and ends with its standard input.

local template = require("fastpg.cluster").start()
template:stop()
print(template.dir .. "/data")
local cluster = require("fastpg.cluster").start{ settings = { max_connections = 200 } }
local at = cluster.conninfo
io.write(("%s|%s|%s|%d\n"):format(at.host, at.port, at.user, cluster.pid))
io.flush()
io.read "*a"
cluster:close()
template:close()
