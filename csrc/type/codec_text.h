/* SPDX-License-Identifier: MIT
 *
 * codec_text.h: types that are strings in Lua but not in their binary form.
 */
#ifndef FASTPG_CODEC_TEXT_H
#define FASTPG_CODEC_TEXT_H

#include "types.h"

fpg_decode_fn fpg_bit_decode_binary;
fpg_decode_fn fpg_lsn_decode_binary;
fpg_decode_fn fpg_tid_decode_binary;
fpg_decode_fn fpg_xid_decode_binary;  /* cid too */
fpg_decode_fn fpg_xid8_decode_binary;
fpg_decode_fn fpg_int2vector_decode_binary, fpg_oidvector_decode_binary;
fpg_decode_fn fpg_snapshot_decode_binary;
fpg_decode_fn fpg_versioned_decode_binary; /* jsonpath, ltree, lquery, ltxtquery */
fpg_pack_fn fpg_bit_pack, fpg_lsn_pack, fpg_tid_pack, fpg_xid_pack, fpg_xid8_pack;
fpg_pack_fn fpg_versioned_pack;
fpg_decode_fn fpg_tsvector_decode_binary;  /* these two in codec_search.c */
fpg_decode_fn fpg_tsquery_decode_binary;

#endif
