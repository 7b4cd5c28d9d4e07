/* SPDX-License-Identifier: MIT
 *
 * recent.c: see recent.h.
 */
#include "recent.h"

typedef struct {
  int newer, older; /* a free place: newer is FREE, older the next free one */
} node;

enum { FREE = -1 };

static node *nodes(const fpg_recent *r) { return (node *)(void *)r->nodes->data; }

static int is_taken(const fpg_recent *r, int place) {
  return place > 0 && (size_t)place < r->nodes->len / sizeof(node) && nodes(r)[place].newer != FREE;
}

static void unlink_node(fpg_recent *r, int place) {
  node *all = nodes(r), n = all[place];
  all[n.newer].older = n.older;
  all[n.older].newer = n.newer;
}

static void link_first(fpg_recent *r, int place) {
  node *all = nodes(r);
  all[place] = (node){0, all[0].older};
  all[all[0].older].newer = place;
  all[0].older = place;
}

int fpg_recent_add(lua_State *L, fpg_recent *r) {
  if (!r->nodes->len) memset(fpg_buf_grow(L, r->nodes, sizeof(node)), 0, sizeof(node)); /* the head: a ring of one */
  int place = r->free;
  if (place) {
    r->free = nodes(r)[place].older;
  } else {
    place = (int)(r->nodes->len / sizeof(node));
    fpg_buf_grow(L, r->nodes, sizeof(node));
  }
  link_first(r, place);
  return place;
}

void fpg_recent_use(fpg_recent *r, int place) {
  if (!is_taken(r, place) || nodes(r)[0].older == place) return;
  unlink_node(r, place);
  link_first(r, place);
}

int fpg_recent_oldest(const fpg_recent *r) { return r->nodes->len ? nodes(r)[0].newer : 0; }

void fpg_recent_remove(fpg_recent *r, int place) {
  if (!is_taken(r, place)) return;
  unlink_node(r, place);
  nodes(r)[place] = (node){FREE, r->free};
  r->free = place;
}
