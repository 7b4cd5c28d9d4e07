-- SPDX-License-Identifier: MIT

return {
  title = "Classes in a module; tables as globals",
  "create_mod writes the classes of all tables as a Lua module with annotations for editors.",
  { 'db:create_mod(pg.dir .. "/db_classes")', like = '/db_classes%.lua"$' },
  { 'classes = dofile(pg.dir .. "/db_classes.lua")\ntype(classes.Track)', '"table"' },
  "link_classes gives the tables those classes. A numeric is exact.",
  { "db:link_classes(classes)", like = "{ Album = Album, Artist = Artist, .*InvoiceLine = InvoiceLine, " },
  { "dt.track[1]", "Track(track_id=1, name='For Those About To Rock (We Salute You)', album_id=1, media_type_id=1, " ..
      "genre_id=1, composer='Angus Young, Malcolm Young, Brian Johnson', milliseconds=343719, bytes=11170334, " ..
      "unit_price=0.99)" },
  { "dt.track[1].unit_price * 3", "2.97" },
  { "db.t", "album, artist, customer, employee, genre, invoice, invoice_line, media_type, playlist, playlist_track, track" },
  "set_classes takes the classes of a namespace (Artist for the table artist); get_tables puts the tables into one,\n" ..
    "as plurals. Neither overwrites what is there.",
  { "Employee = classes.Employee\ndb:set_classes(_G)", "{ Album = Album, Artist = Artist, Employee = Employee }" },
  { "db:get_tables(_G)", like = '{ albums = "album", artists = "artist", .*invoice_lines = "invoice_line", ' },
  { "albums{ limit = 1 }[1]", "Album(album_id=1, title='For Those About To Rock We Salute You', artist_id=1)" },
  { "employees{ limit = 1 }[1]", "Employee(employee_id=1, last_name='Adams', first_name='Andrew', " ..
      "title='General Manager', reports_to=nil, birth_date=1962-02-18 00:00:00, hire_date=2002-08-14 00:00:00, " ..
      "address='11120 Jasper Ave NW', city='Edmonton', state='AB', country='Canada', postal_code='T5K 2N1', " ..
      "phone='+1 (780) 428-9482', fax='+1 (780) 428-3457', email='andrew@chinookcorp.com')" },
  { "employees[1].birth_date.year, invoice_lines.name", '1962  "invoice_line"' },
}
