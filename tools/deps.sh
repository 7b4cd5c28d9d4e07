#!/bin/sh
# SPDX-License-Identifier: MIT
#
# deps.sh: installs what is missing, on Debian and Ubuntu; elsewhere says what is missing.
#
#   tools/deps.sh WHAT... LUA...
#     WHAT   build (compiler, libpq, gmp), run (the interpreter), server (PostgreSQL, time zones),
#            test (busted), hosts (luv, cqueues, copas, LuaSocket: the event loops), pooler (PgBouncer), lint (luacheck),
#            nginx (nginx with ngx_http_lua, its headers, curl), wrk,
#            peers (the other clients that make bench measures, and what they need)
#     LUA    lua5.4 lua5.3 lua5.1 luajit: whose headers and interpreters
#
# It looks for the things themselves, not for packages, and is done at once when all are there.
# Installing must start nothing. So while apt-get runs a setting in postgresql-common's folder says that
# no cluster is made, and a policy-rc.d (where there is none) that no service starts; nginx and PgBouncer
# are not to start with the machine either.
# DEPS=no: only looks.

here=$(dirname "$0")
what= luas= packages= things=

for word; do
  case $word in
    lua*) luas="$luas $word" ;;
    *) what="$what $word" ;;
  esac
done

need() {
  packages="$packages $1"
  things="$things
  $2"
}

has() { command -v "$1" >/dev/null 2>&1; }

# Debian has nginx's LuaJIT, whose headers exclude those of the older package; some Ubuntus lack it.
luajit_package() {
  if ! has apt-cache || apt-cache show luajit2 >/dev/null 2>&1; then echo "$1"; else echo "$2"; fi
}

has_module() { has "$1" && "$1" -e "require '$2'" >/dev/null 2>&1; }

has_header() { printf '#include <%s>\n' "$1" | "${CC:-cc}" -E - >/dev/null 2>&1; }

look() {
  packages= things=
  for w in $what; do
    case $w in
      build)
        has "${CC:-cc}" || need gcc "a C compiler"
        has_header stdio.h || need libc6-dev "the C library's headers"
        has make || need make make
        has pkg-config || need pkg-config pkg-config
        "$here/config.sh" pq-cflags >/dev/null || need libpq-dev "libpq's headers"
        has_header gmp.h || need libgmp-dev "GMP's headers"
        ;;
      server)
        has_server || need postgresql "PostgreSQL's server programs (initdb, postgres)"
        [ -f /usr/share/zoneinfo/Europe/Paris ] || [ -f /var/db/timezone/zoneinfo/UTC ] ||
          need tzdata "the time zones' files (/usr/share/zoneinfo)"
        ;;
      wrk) has wrk || need wrk wrk ;;
      peers)
        for module in asyncpg uvloop psycopg; do
          /usr/bin/python3 -c "import $module" 2>/dev/null || need python3-$module "$module for /usr/bin/python3"
        done
        has_module lua5.4 luasql.postgres || need lua-sql-postgres LuaSQL
        has_module lua5.4 DBI || need lua-dbi-postgresql LuaDBI
        for lua in $luas; do
          has_module "$lua" luv || need lua-luv "luv for $lua"
          has_module "$lua" socket || need lua-socket "LuaSocket for $lua"
        done
        [ -z "$PGMOON" ] || has_module lua5.4 openssl.digest || need lua-luaossl "luaossl, which pgmoon needs"
        [ -z "$PGMOON" ] || has_module lua5.4 lpeg || need lua-lpeg "LPeg, with which pgmoon reads arrays"
        ;;
      nginx)
        PATH=$PATH:/usr/sbin has nginx || need nginx nginx
        [ -f /usr/lib/nginx/modules/ngx_http_lua_module.so ] || need libnginx-mod-http-lua "nginx's module ngx_http_lua"
        [ -f /usr/share/lua/5.1/resty/core.lua ] || need lua-resty-core lua-resty-core
        [ -f /usr/share/nginx/src/configure ] || need nginx-dev "nginx's headers"
        has curl || need curl curl
        ;;
      love)
        PATH=$PATH:/usr/games has love || need love "LÖVE"
        has xvfb-run || need xvfb "an X server without a screen (xvfb-run)"
        has xauth || need xauth xauth
        ;;
      neovim)
        has nvim || need neovim Neovim
        ;;
      pooler)
        PATH=$PATH:/usr/sbin has pgbouncer || need pgbouncer PgBouncer
        ;;
      lint)
        has luacheck || need lua-check luacheck
        ;;
    esac
  done
  for lua in $luas; do
    case $lua in
      luajit) dev= run= ;; # asked for only where it is missing: apt-cache takes its time
      lua5.1) dev=liblua5.1-0-dev run=lua5.1 ;;
      *) dev=lib$lua-dev run=$lua ;;
    esac
    for w in $what; do
      case $w in
        build) "$here/config.sh" lua-cflags "$lua" >/dev/null ||
          need "${dev:-$(luajit_package libluajit2-5.1-dev libluajit-5.1-dev)}" "the headers of $lua" ;;
        run) has "$lua" || need "${run:-$(luajit_package luajit2 luajit)}" "$lua" ;;
        test)
          has "$lua" && "$lua" -e 'require "busted" require "term" require "lfs" require "system"' \
            >/dev/null 2>&1 || need lua-busted "busted for $lua"
          ;;
        hosts)
          has_module "$lua" luv || need lua-luv "luv for $lua"
          has_module "$lua" cqueues || need lua-cqueues "cqueues for $lua"
          has_module "$lua" socket || need lua-socket "LuaSocket for $lua"
          case $lua in luajit) has_module "$lua" copas || need lua-copas "copas for $lua" ;; esac
          ;;
      esac
    done
  done
}

has_server() {
  for dir in "${PG_BINDIR:-}" "$(pg_config --bindir 2>/dev/null)" /usr/lib/postgresql/*/bin /usr/pgsql-*/bin; do
    if [ -n "$dir" ] && [ -x "$dir/initdb" ] && [ -x "$dir/postgres" ]; then return 0; fi
  done
  has initdb && has postgres
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    env DEBIAN_FRONTEND=noninteractive "$@"
  elif has sudo; then
    sudo env DEBIAN_FRONTEND=noninteractive "$@"
  else
    echo "deps: not root, and no sudo: $*" >&2
    return 1
  fi
}

settings=/etc/postgresql-common/createcluster.d
setting=$settings/fastpg-deps.conf
policy=/usr/sbin/policy-rc.d

install_packages() {
  echo "deps: missing:$things"
  as_root apt-get update -q || return 1
  look # again: which packages there are is known only now
  # shellcheck disable=SC2086 # a list of words
  set -- $(printf '%s\n' $packages | sort -u)
  undo=:
  trap 'as_root sh -c "$undo; :"' EXIT
  case " $* " in
    *" postgresql "*)
      undo="$undo; rm -f $setting; rmdir $settings 2>/dev/null"
      as_root sh -c "mkdir -p $settings && echo 'create_main_cluster = false' >$setting" || return 1
      ;;
  esac
  case " $* " in
    *" nginx "* | *" pgbouncer "*)
      if [ ! -e $policy ]; then
        undo="$undo; rm -f $policy"
        as_root sh -c "printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy" || return 1
      fi
      case " $* " in *" nginx "*) undo="$undo; systemctl disable -q nginx 2>/dev/null" ;; esac
      case " $* " in *" pgbouncer "*) undo="$undo; systemctl disable -q pgbouncer 2>/dev/null" ;; esac
      ;;
  esac
  as_root apt-get install -q -y --no-install-recommends "$@"
}

look
[ -n "$packages" ] || exit 0
if [ "${DEPS:-}" = no ] || ! has apt-get; then
  echo "missing:$things" >&2
  if ! has apt-get; then
    echo "Install them by this system's own means (make deps knows Debian and Ubuntu only)." >&2
  else
    case $luas in " "*" "*) for_lua= ;; *) for_lua=" LUA=${luas# }" ;; esac
    echo "Nothing was installed: make deps$for_lua installs them." >&2
  fi
  exit 1
fi
install_packages || exit 1
look
if [ -n "$packages" ]; then
  echo "deps: still missing:$things" >&2
  exit 1
fi
