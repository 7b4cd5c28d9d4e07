/* SPDX-License-Identifier: MIT
 *
 * codec_text.h: types that are strings in Lua but not in their binary form.
 */
#ifndef FASTPG_CODEC_TEXT_H
#define FASTPG_CODEC_TEXT_H

#include "codec.h"

fpg_decode_fn fpg_bit_decode_binary;
fpg_decode_fn fpg_lsn_decode_binary;
fpg_decode_fn fpg_tid_decode_binary;
fpg_decode_fn fpg_xid_decode_binary; /* cid too */
fpg_decode_fn fpg_xid8_decode_binary;
fpg_decode_fn fpg_vector_decode_binary; /* int2vector and oidvector */
fpg_decode_fn fpg_snapshot_decode_binary;
fpg_decode_fn fpg_versioned_decode_binary; /* jsonpath, ltree, lquery, ltxtquery */
fpg_pack_fn fpg_bit_pack, fpg_lsn_pack, fpg_tid_pack, fpg_xid_pack, fpg_xid8_pack;
fpg_pack_fn fpg_versioned_pack;

#endif
