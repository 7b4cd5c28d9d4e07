#!/bin/sh
# SPDX-License-Identifier: MIT
#
# nginx.sh: the configured headers of the installed nginx, in build/nginx, made as its own modules are
# built: by its configure script with the flags of the package.  Takes half a minute, once.
#
#   tools/nginx.sh          makes them, unless they are there for this version of nginx
#   tools/nginx.sh cflags   prints compiler flags; nothing when they have not been made

cd "$(dirname "$0")/.." || exit 1
src=${NGINX_SRC:-/usr/share/nginx/src}
out=build/nginx
stamp=$out/made-for

version() { cat "$src/conf_flags" "$src/src/core/nginx.h" 2>/dev/null | cksum; }

if [ "$1" = cflags ]; then
  [ -f $stamp ] || exit 0
  printf -- '-DFPG_NGINX '
  for dir in objs src/core src/event src/event/modules src/event/quic src/os/unix src/http src/http/modules src/http/v2 src/http/v3; do
    [ ! -d "$out/$dir" ] || printf -- "-isystem '%s' " "$PWD/$out/$dir"
  done
  exit 0
fi

[ -f "$src/configure" ] || {
  echo "nginx.sh: no $src/configure (Debian's package nginx-dev)" >&2
  exit 1
}
[ "$(version)" != "$(cat $stamp 2>/dev/null)" ] || exit 0

rm -rf $out
mkdir -p $out
for part in auto src configure; do ln -s "$src/$part" "$out/$part"; done
echo "  CONFIGURE $out (half a minute)"
# conf_flags is an array of bash
if ! (cd $out && bash -c '. "$1/conf_flags" && ./configure --builddir="$PWD/objs" "${NGX_CONF_FLAGS[@]}"' sh "$src") \
  >$out/log 2>&1; then
  tail -n 20 $out/log >&2
  exit 1
fi
version >$stamp
