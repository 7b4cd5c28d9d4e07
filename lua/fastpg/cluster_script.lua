-- SPDX-License-Identifier: MIT
--
-- cluster_script: the shell script that makes, starts and stops the servers of a cluster and removes them
-- (fastpg.cluster_orders says what it answers).  Its variables bindir, superuser, password, template, tmpdir, conf and port
-- are set before, standbys (how many; empty: one server, in the cluster's own directory) and relayed (not empty: there is
-- a relay between a server and whoever wants it, csrc/relay.c), lowered (not empty: settings of which a standby may not
-- have less than its primary had).
--
-- Orders, with the numbers of servers:
--
--   start 0 1 2      TERM 0, INT 0, QUIT 0 (how it is stopped)      running: which of them are
--   link 1 0         server 1 finds its primary there (where no relay does that)
--   rebuild 1 0      server 1, which is stopped, becomes a copy of server 0 and follows it
--   log 1            the last lines of its log
--   diverged 1       "yes" where its log says that it can't follow its primary

return [==[
unset FASTPG_SCRIPT
export LC_ALL=C PATH="${PATH:-/usr/local/bin:/usr/bin:/bin}:/usr/bin:/bin"
umask 077
dir= pid= s= home=

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
  longest=70
  [ -z "$standbys" ] || longest=60
  for d in "$tmpdir" /tmp /var/tmp; do
    if [ -n "$d" ] && [ ${#d} -le $longest ] && dir=$(mktemp -d "$d/fastpg-XXXXXXXX" 2>/dev/null); then
      return 0
    fi
  done
  dir=
  say "cannot make a directory in ${tmpdir:-/tmp} nor in /tmp as user $(id -un)"
  return 1
}

# Server $1 is the one that is meant: sets s, its directory home, and pid.
at() {
  s=$1
  home=$dir${standbys:+/$s}
  eval "pid=\${pid_$s}"
}

servers() { seq 0 "${standbys:-0}"; }

report() {
  say "$1"
  tail -n 20 "$home/log"
}

run_initdb() {
  printf '%s\n' "$password" >"$home/password"
  for locale in --locale=C.UTF-8 --no-locale; do
    rm -rf "$home/data"
    "$bin/initdb" -D "$home/data" -U "$superuser" --auth-local=trust --auth-host=scram-sha-256 \
      --pwfile="$home/password" -E UTF8 -N $locale </dev/null >"$home/log" 2>&1 && break
  done
  rm -f "$home/password"
}

escape() { printf '%s' "$1" | sed "s/['\\\\]/$2/g"; }

init() {
  at 0
  for n in $(servers); do
    eval "pid_$n="
    [ -z "$standbys" ] || mkdir -p "$dir/$n/server" || return 1
    [ -z "$relayed" ] || mkdir -p "$dir/$n/upstream" || return 1
  done
  if [ -z "$template" ] || ! cp -R "$template" "$home/data" 2>/dev/null || ! chmod 700 "$home/data"; then run_initdb; fi
  if [ ! -f "$home/data/PG_VERSION" ] || ! printf '%s' "$conf" >>"$home/data/postgresql.conf"; then
    report "initdb failed:"
    return 1
  fi
  if [ -z "$standbys" ]; then
    printf "unix_socket_directories = '%s'\n" "$(escape "$dir" '&&')" >>"$home/data/postgresql.conf"
    return
  fi
  # in its control file is what it was made with, which a standby with less would not begin with
  if [ -n "$lowered" ] && ! "$bin/postgres" --single -D "$home/data" postgres </dev/null >"$home/log" 2>&1; then
    report "the server did not start:"
    return 1
  fi
  # what is shut down can be copied, and followed
  for n in $(servers); do
    [ "$n" = 0 ] || copy_data "$n" || return 1
  done
}

copy_data() {
  cp -R "$dir/0/data" "$dir/$1/data" && : >"$dir/$1/data/standby.signal" && link "$1" 0
}

# Where each server's own socket is.
sockets() {
  if [ -n "$relayed" ]; then printf '%s' "$dir/$1/server"; else printf '%s' "$dir/$1"; fi
}

# A relay makes a socket in upstream, and leads to whom it was told.
link() {
  [ -n "$relayed" ] || ln -sfn "$dir/$2" "$dir/$1/upstream"
}

run_server() {
  set -- -D "$home/data"
  if [ -n "$standbys" ]; then
    to="host='$(escape "$home/upstream" '\\&')' port=$port user='$(escape "$superuser" '\\&')' application_name=fastpg$s"
    set -- "$@" -c unix_socket_directories="\"$(sockets "$s")\"" -c cluster_name="fastpg$s" -c primary_conninfo="$to"
  fi
  (trap - PIPE; exec "$bin/postgres" "$@") </dev/null >>"$home/log" 2>&1 &
  pid=$!
  eval "pid_$s=$pid"
}

# The server writes "ready" as the last line of this file when it takes connections.
is_ready() {
  [ -f "$home/data/postmaster.pid" ] || return 1
  first= last=
  while read -r line; do
    [ -n "$first" ] || first=$line
    last=$line
  done <"$home/data/postmaster.pid"
  [ "$first" = "$pid" ] && [ "$last" = ready ]
}

# A foreground child (sleep) makes the shell reap a dead server, so that kill -0 can tell.
alive() { [ -n "$pid" ] && sleep 0 && kill -0 "$pid" 2>/dev/null; }

wait_until_ready() {
  tries=0
  until is_ready; do
    sleep 0.02
    tries=$((tries + 1))
    if ! alive || [ $tries -gt 3000 ]; then
      stop QUIT "$s"
      return 1
    fi
  done
}

# Those that are not there yet are begun together.  The backends of a server that was killed leave the shared memory a
# moment after it.
start() {
  for n in "$@"; do
    at "$n"
    alive && continue
    stop QUIT "$n"
    : >"$home/log"
    run_server
  done
  for n in "$@"; do
    at "$n"
    for again in 1 2 3 4 5 6 7 8 9 10; do
      wait_until_ready && continue 2
      grep -q 'shared memory block' "$home/log" || break
      sleep 0.3
      : >"$home/log"
      run_server
    done
    report "the server${standbys:+ fastpg$s} did not start:"
    return 1
  done
}

pids() {
  list=
  for n in "$@"; do
    eval "list=\"\$list \$pid_$n\""
  done
  say "+${list# }"
}

running() {
  list=
  for n in $(servers); do
    at "$n"
    if alive; then list="$list $n"; fi
  done
  say "+${list# }"
}

# one that somebody stopped (SIGSTOP) hears nothing
signal() {
  [ -n "$pid" ] || return 0
  kill -s "$1" "$pid" 2>/dev/null
  kill -s CONT "$pid" 2>/dev/null
}

stop() {
  at "$2"
  signal "$1"
  [ -z "$pid" ] || wait "$pid" 2>/dev/null
  pid=
  eval "pid_$s="
}

rebuild() {
  at "$1"
  rm -rf "$home/data"
  if "$bin/pg_basebackup" -w -h "$(sockets "$2")" -p "$port" -U "$superuser" -D "$home/data" -X stream -c fast --no-sync \
    </dev/null >"$home/log" 2>&1 && : >"$home/data/standby.signal" && link "$1" "$2"; then
    return 0
  fi
  report "no copy of fastpg$2 for fastpg$1:"
  return 1
}

diverged() {
  at "$1"
  grep -q -e "is not in this server's history" -e "before current recovery point" -e "not a child of this server's history" \
    -e "has already been removed" -e "of the primary is behind recovery timeline" "$home/log"
}

finish() {
  trap '' TERM INT HUP
  for n in $(servers); do
    at "$n"
    signal QUIT
  done
  for n in $(servers); do stop QUIT "$n"; done
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

if find_server && make_directory && init; then
  say "+$dir"
else
  say -
  finish
fi
while read -r order one more; do
  case $order in
    start)
      # shellcheck disable=SC2086 # numbers
      if start $one $more; then pids $one $more; else say -; fi
      ;;
    running) running ;;
    rebuild) if rebuild "$one" "$more"; then say +; else say -; fi ;;
    link) if link "$one" "$more"; then say +; else say -; fi ;;
    log)
      at "$one"
      tail -n 20 "$home/log"
      say +
      ;;
    diverged) if diverged "$one"; then say +yes; else say +; fi ;;
    *) stop "$order" "$one" && say + ;;
  esac
done
finish
]==]
