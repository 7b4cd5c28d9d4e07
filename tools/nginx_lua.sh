#!/bin/sh
# SPDX-License-Identifier: MIT
#
# nginx_lua.sh: runs a Lua script inside nginx, in a timer: what OpenResty's command line `resty` does.
#
#   tools/nginx_lua.sh SCRIPT ARGUMENT...
#
# Exits with 1 after an error of the script, or with what it gave to os.exit.  `print` writes to the
# standard output; what nginx logs from level warn on goes to the standard error.

# Beside this file's own lines, everything of the environment is let through to nginx.
dir=$(mktemp -d "${TMPDIR:-/tmp}/fastpg-nginx-lua-XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'kill "$pid" 2>/dev/null; exit 130' INT TERM HUP

FASTPG_RUN_DIR=$dir FASTPG_RUN_COUNT=$# i=0
for word; do
  export "FASTPG_RUN_$i=$word"
  i=$((i + 1))
done
export FASTPG_RUN_DIR FASTPG_RUN_COUNT

cat >"$dir/nginx.conf" <<'END'
include modules.conf;
daemon off;
master_process off;
error_log stderr warn;
pid nginx.pid;
include env.conf;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  init_by_lua_block {
    local variable = os.getenv
    arg = {}
    for i = 0, variable "FASTPG_RUN_COUNT" - 1 do arg[i] = variable("FASTPG_RUN_" .. i) end
    function print(...)
      local words = { ... }
      for i = 1, select("#", ...) do words[i] = tostring(words[i]) end
      io.stdout:write(table.concat(words, "\t"), "\n")
    end

    local function finish(code)
      local f = assert(io.open(variable "FASTPG_RUN_DIR" .. "/code", "w"))
      f:write(code, "\n")
      f:close()
      io.stdout:flush()
      require("ngx.process").signal_graceful_exit()
    end
    -- nginx ends as it always does, not in the middle of an event
    function os.exit(code)
      finish(code == true and 0 or code or code == nil and 0 or 1)
      ngx.exit(0)
    end

    local function complain(err)
      return type(err) == "string" and debug.traceback(err, 2) or tostring(err)
    end
    package.loaded["fastpg.run"] = function()
      local ok, err = xpcall(function() assert(loadfile(arg[0]))(unpack(arg)) end, complain)
      if not ok then io.stderr:write("nginx: ", err, "\n") end
      finish(ok and 0 or 1)
    end
  }
  init_worker_by_lua_block { assert(ngx.timer.at(0, require "fastpg.run")) }
}
END

for module in ndk_http_module ngx_http_lua_module; do
  echo "load_module ${NGINX_MODULES:-/usr/lib/nginx/modules}/$module.so;"
done >"$dir/modules.conf"
env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/env \1;/p' >"$dir/env.conf"

exec 3<&0 # what runs in the background has none of its own
PATH=$PATH:/usr/sbin nginx -p "$dir/" -c nginx.conf -e stderr <&3 &
pid=$!
wait "$pid"
status=$?
code=$(cat "$dir/code" 2>/dev/null)
[ "$status" -ne 0 ] || status=${code:-1}
exit "$status"
