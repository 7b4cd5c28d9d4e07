/* SPDX-License-Identifier: MIT
 *
 * codec_net.h: the text of network addresses.
 */
#ifndef FASTPG_CODEC_NET_H
#define FASTPG_CODEC_NET_H

#include "types.h"

fpg_decode_fn fpg_inet_decode_binary, fpg_macaddr_decode_binary, fpg_macaddr8_decode_binary;
fpg_pack_fn fpg_inet_pack, fpg_cidr_pack, fpg_macaddr_pack, fpg_macaddr8_pack;

#endif
