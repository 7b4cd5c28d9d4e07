-- SPDX-License-Identifier: MIT
--
-- cluster_script: the shell script that makes, starts and stops the server of a cluster and removes it (fastpg.cluster
-- says what it answers).  Its variables bindir, superuser, password, template, tmpdir and conf are set before.

return [==[
unset FASTPG_SCRIPT
export LC_ALL=C PATH="${PATH:-/usr/local/bin:/usr/bin:/bin}:/usr/bin:/bin"
umask 077
dir= pid=

say() { printf '%s\n' "$*"; }

# Sets bin to the directory of the server's programs.
find_server() {
  newest= highest=-1
  for d in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql@*/bin; do
    v=${d%/bin} v=${v##*[!0-9]}
    if [ -x "$d/initdb" ] && [ "${v:-0}" -gt "$highest" ]; then newest=$d highest=${v:-0}; fi
  done
  named=$bindir
  [ -n "$named" ] || named=$(pg_config --bindir 2>/dev/null)
  onpath=$(command -v initdb 2>/dev/null)
  for bin in "$named" "$newest" /usr/local/pgsql/bin "${onpath%/initdb}"; do
    if [ -n "$bin" ] && [ -x "$bin/initdb" ] && [ -x "$bin/postgres" ]; then return 0; fi
    [ -z "$bindir" ] || break
  done
  if [ -n "$bindir" ]; then
    say "no PostgreSQL server programs (initdb, postgres) in $bindir"
  else
    say "no PostgreSQL server programs (initdb, postgres) found: install them" \
      "(Debian, Ubuntu: the package postgresql; Fedora: postgresql-server) or give bindir ="
  fi
  return 1
}

# A socket's path has at most 107 bytes (103 on macOS), so a long TMPDIR is passed over.
make_directory() {
  for d in "$tmpdir" /tmp /var/tmp; do
    if [ -n "$d" ] && [ ${#d} -le 70 ] && dir=$(mktemp -d "$d/fastpg-XXXXXXXX" 2>/dev/null); then
      return 0
    fi
  done
  dir=
  say "cannot make a directory in ${tmpdir:-/tmp} nor in /tmp as user $(id -un)"
  return 1
}

report() {
  say "$1"
  tail -n 20 "$dir/log"
}

run_initdb() {
  printf '%s\n' "$password" >"$dir/password"
  for locale in --locale=C.UTF-8 --no-locale; do
    rm -rf "$dir/data"
    "$bin/initdb" -D "$dir/data" -U "$superuser" --auth-local=trust --auth-host=scram-sha-256 \
      --pwfile="$dir/password" -E UTF8 -N $locale </dev/null >"$dir/log" 2>&1 && break
  done
  rm -f "$dir/password"
}

init() {
  if [ -z "$template" ] || ! cp -R "$template" "$dir/data" 2>/dev/null || ! chmod 700 "$dir/data"; then run_initdb; fi
  if [ -f "$dir/data/PG_VERSION" ] && printf '%s' "$conf" >>"$dir/data/postgresql.conf" &&
    printf "unix_socket_directories = '%s'\n" "$(printf '%s' "$dir" | sed "s/['\\\\]/&&/g")" \
      >>"$dir/data/postgresql.conf"; then
    return 0
  fi
  report "initdb failed:"
  return 1
}

# The server writes "ready" as the last line of this file when it takes connections.
is_ready() {
  [ -f "$dir/data/postmaster.pid" ] || return 1
  first= last=
  while read -r line; do
    [ -n "$first" ] || first=$line
    last=$line
  done <"$dir/data/postmaster.pid"
  [ "$first" = "$pid" ] && [ "$last" = ready ]
}

# A foreground child (sleep) makes the shell reap a dead server, so that kill -0 can tell.
alive() { [ -n "$pid" ] && sleep 0 && kill -0 "$pid" 2>/dev/null; }

start() {
  : >"$dir/log"
  (trap - PIPE; exec "$bin/postgres" -D "$dir/data") </dev/null >>"$dir/log" 2>&1 &
  pid=$!
  tries=0
  until is_ready; do
    sleep 0.02
    tries=$((tries + 1))
    if ! alive || [ $tries -gt 3000 ]; then
      stop QUIT
      return 1
    fi
  done
}

# The backends of a server that was killed leave the shared memory a moment after it.
start_again() {
  alive && return 0
  stop QUIT
  for again in 1 2 3 4 5 6 7 8 9 10; do
    start && return 0
    grep -q 'shared memory block' "$dir/log" || break
    sleep 0.3
  done
  return 1
}

stop() {
  [ -n "$pid" ] || return 0
  kill -s "$1" "$pid" 2>/dev/null
  kill -s CONT "$pid" 2>/dev/null # one that somebody stopped hears nothing
  wait "$pid" 2>/dev/null
  pid=
}

finish() {
  trap '' TERM INT HUP
  stop QUIT
  tries=0
  # backends of a killed server may write for a moment longer
  while [ -n "$dir" ] && ! rm -rf "$dir" 2>/dev/null && [ $tries -lt 50 ]; do
    sleep 0.1
    tries=$((tries + 1))
  done
  exit 0
}

trap '' PIPE
trap finish TERM INT HUP
first_start() { start || { report "the server did not start:"; return 1; }; }

if find_server && make_directory && init && first_start; then
  say "+$dir"
  say "+$pid"
else
  say -
  finish
fi
while read -r order; do
  case $order in
    start)
      if start_again; then say "+$pid"; else report "the server did not start:"; say -; fi
      ;;
    *) stop "$order" && say + ;;
  esac
done
finish
]==]
