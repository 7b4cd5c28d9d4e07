/* SPDX-License-Identifier: MIT
 *
 * codec_user.h: codecs that the user set (db:set_type_codec).
 */
#ifndef FASTPG_CODEC_USER_H
#define FASTPG_CODEC_USER_H

#include "codec.h"

fpg_decode_fn fpg_user_decode_text;
fpg_encode_fn fpg_user_encode;

#endif
