-- SPDX-License-Identifier: MIT
--
-- alloc.lua: builds and loads alloc.c for the running Lua; nil and why where that can't be done.

local function build()
  local lua = os.getenv "FPG_TEST_NAME"
  if not lua then return nil, "FPG_TEST_NAME does not say which Lua this is (make test sets it)" end
  local path = ("build/%s/spec/alloc.so"):format(lua)
  local command = ([[mkdir -p build/%s/spec && eval "${CC:-cc} -O1 -g -shared -fPIC $(tools/config.sh lua-cflags %s | tr '\n' ' ') spec/support/alloc.c -o %s"]])
    :format(lua, lua, path)
  local status = os.execute("unset LD_PRELOAD; " .. command)
  if status ~= true and status ~= 0 then return nil, "no C compiler" end
  local open, why = package.loadlib(path, "luaopen_alloc")
  if not open then return nil, why end
  return open()
end

return build
