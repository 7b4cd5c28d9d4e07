-- SPDX-License-Identifier: MIT

return {
  title = "Classes for rows; JSON",
  "A PostgreSQL type has its Lua type.",
  { 'fastpg.lua_type "character varying(120)", fastpg.lua_type "integer"', '"string"  "integer"' },
  "A table makes the class of its rows. An instance may have some of the columns only.",
  { "Artist = artist:class()" },
  { "art1 = Artist(acdc[1])\nart1", "Artist(artist_id=1, name='AC/DC')" },
  { 'Artist{ name = "X" }', "Artist(name='X')" },
  { "artist.cls == Artist", "true" },
  { "print(fastpg.class_source(Artist))", "---@class Artist\n---@field artist_id integer?\n---@field name string?\n" ..
      'local Artist = require("fastpg").class("Artist", {\n  "artist_id integer",\n' ..
      '  "name character varying(120)",\n})\nreturn Artist' },
  "A class takes methods.",
  { "function Artist:shout() return self.name:upper() .. \"!\" end\nart1:shout()", '"AC/DC!"' },
  "All tables at once; store = false only gives the map of classes.",
  { "local names = {}\nfor name in pairs(fastpg.all_classes(db, { store = false })) do names[#names + 1] = name end\n" ..
      'table.sort(names)\ntable.concat(names, " ")',
    '"Album Artist Customer Employee Genre Invoice InvoiceLine MediaType Playlist PlaylistTrack Track"' },
  "JSON is Lua values both ways; [] and {}, null and absent stay apart.",
  { [[doc = db:item "select '{\"tags\": [], \"meta\": {}, \"score\": null, \"n\": [1, 2.5]}'::jsonb"]] },
  { "doc.n[2], doc.score == fastpg.null, doc.absent", "2.5  true  nil" },
  { 'db:item("select $1::jsonb::text", doc)', [["{\"n\": [1, 2.5], \"meta\": {}, \"tags\": [], \"score\": null}"]] },
}
