/* SPDX-License-Identifier: MIT
 *
 * copy_end.c: see copy_end.h.
 */
#include "copy_end.h"

#include <sys/socket.h>

#include "be.h"

/* Whether these bytes, the beginning of a message, say that the server has ended the copy: 'E', a length, and an
 * error's first field, which is the severity; or 'Z', that it waits for the next statement. */
static int is_end(const char *p, size_t n) {
  return n > 5 && !p[1] && ((p[0] == 'E' && p[5] == 'S') || (p[0] == 'Z' && be_u32(p + 1) == 5));
}

/* While rows are sent the server is silent, but for notices and for the error that ends it.  libpq keeps that to
 * itself until the end: so the bytes are looked at before it reads them.  (Where they are encrypted the error is
 * seen at the end only.)  The first may come together with the server's consent.  Gives whether there is anything
 * to read. */
int fpg_look_for_end(fpg_conn *c) {
  char bytes[4096], *p = bytes;
  if (PQsslInUse(c->pg)) return 1;
  ssize_t n = recv(PQsocket(c->pg), bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT);
  for (char *end = bytes + (n > 0 ? n : 0); !c->copy_ended && end - p > 5;) {
    c->copy_ended = is_end(p, (size_t)(end - p));
    uint32_t size = be_u32(p + 1);
    if (size > (size_t)(end - p) - 1) break;
    p += 1 + size;
  }
  return n >= 0;
}
