/* SPDX-License-Identifier: MIT
 *
 * codec_json.h: json and jsonb.
 */
#ifndef FASTPG_CODEC_JSON_H
#define FASTPG_CODEC_JSON_H

#include "codec.h"

fpg_decode_fn fpg_json_decode;         /* json in both formats, jsonb as text */
fpg_decode_fn fpg_jsonb_decode_binary; /* a version byte comes first */
fpg_encode_fn fpg_json_encode;         /* a Lua string is a JSON string; writes FPG_TEXT */

#endif
