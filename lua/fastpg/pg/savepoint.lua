-- SPDX-License-Identifier: MIT
--
-- savepoint: the commands of fastpg's own savepoints.  Their names begin with fastpg_, and none of the user's may
-- (fastpg.pg.transaction_control): so what SQL says of savepoints never means one of these.
--
-- PostgreSQL manual: SAVEPOINT, ROLLBACK TO SAVEPOINT, RELEASE SAVEPOINT.

local savepoint = {}

local PREFIX = "fastpg_"

--- A name for it.
---@param what string|integer
function savepoint.name(what) return PREFIX .. what end

--- Whether a name is one of fastpg's own.
function savepoint.is_ours(name) return name:sub(1, #PREFIX) == PREFIX end

function savepoint.make(name) return "SAVEPOINT " .. name end

function savepoint.release(name) return "RELEASE SAVEPOINT " .. name end

--- What was done since is undone, and the savepoint is gone.
function savepoint.undo(name) return ("ROLLBACK TO SAVEPOINT %s; RELEASE SAVEPOINT %s"):format(name, name) end

return savepoint
