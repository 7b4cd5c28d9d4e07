-- SPDX-License-Identifier: MIT

local ALBUM1 = "Album(album_id=1, title='For Those About To Rock We Salute You', artist_id=1)"

return {
  title = "A row by its key; filters",
  "A Table indexed by a primary key gives the row, as an instance of the class.",
  { "a = artist[1]\na", "Artist(artist_id=1, name='AC/DC')" },
  { "fastpg.db_of(a) == db", "true" },
  { "album = dt.album\nAlbum = album:class()" },
  { "album[1]", ALBUM1 },
  { "album[1].artist_id", "1" },
  "xtra puts a filter on the Table: what is outside is not there.",
  { "album:xtra{ artist_id = 1 }", '"album"' },
  { "album[1]", ALBUM1 },
  { "album[2]", raises = "NotFoundError: album[2]" },
  { "ok, err = pcall(function() return album[2] end)\nok, fastpg.is(err, \"not_found\")", "false  true" },
  "get gives nil instead of the error.",
  { "artist:get(1)", "Artist(artist_id=1, name='AC/DC')" },
  { "artist:get(99999)", "nil" },
  { "artist:has(1), artist:has(99999)", "true  false" },
  "A compound key is a list in the key's order; a text key is a list too, as a bare string is a method's name.",
  { "dt.playlist_track[{ 1, 1 }]", "<Record playlist_id=1 track_id=1>" },
}
