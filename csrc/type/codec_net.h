/* SPDX-License-Identifier: MIT
 *
 * codec_net.h: the text of network addresses: which type it is its kind says.
 */
#ifndef FASTPG_CODEC_NET_H
#define FASTPG_CODEC_NET_H

#include "codec.h"

fpg_decode_fn fpg_inet_decode_binary; /* cidr too */
fpg_pack_fn fpg_inet_pack;
fpg_decode_fn fpg_macaddr_decode_binary; /* macaddr8 too */
fpg_pack_fn fpg_macaddr_pack;

#endif
