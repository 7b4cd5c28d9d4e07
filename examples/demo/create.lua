-- SPDX-License-Identifier: MIT

local EACH = "for _, dog in ipairs(dogs()) do print(dog) end"

return {
  title = "Tables from classes; upsert",
  "A column's definition.",
  { 'fastpg.col_def("id", "int", "id")', [["\"id\" SERIAL PRIMARY KEY"]] },
  { 'fastpg.col_def("name", "text", "id", { "name" })', [["\"name\" TEXT NOT NULL"]] },
  { 'fastpg.col_def("age", "int", "id")', [["\"age\" INTEGER"]] },
  "A table of a class: the key is `id` unless pk = says otherwise.",
  { 'Dog = fastpg.class("Dog", { "id int", "name text", "age int" })' },
  { "dogs = db:create(Dog, { replace = true })\ndogs.cols",
    '{ "id", "name", "age", age = "integer", id = "integer", name = "text" }' },
  { 'd = dogs:insert{ name = "Rex", age = 5 }\nd', "Dog(id=1, name='Rex', age=5)" },
  { 'Toy = fastpg.class("Toy", { "id int", "name text", "dog_id int" })' },
  { 'toys = db:create(Toy, { replace = true, foreign_keys = { dog_id = { "dog", "id" } } })\ntoys.cols',
    '{ "id", "name", "dog_id", dog_id = "integer", id = "integer", name = "text" }' },
  { 't = toys:insert{ name = "Ball", dog_id = d.id }\nt', "Toy(id=1, name='Ball', dog_id=1)" },
  { 'toys:insert{ name = "Bone", dog_id = 99 }', raises = "foreign_key_violation" },
  "upsert inserts, or updates the row that has the key already.",
  { "d.age = 6\ndogs:upsert(d)", "Dog(id=1, name='Rex', age=6)" },
  { EACH, "Dog(id=1, name='Rex', age=6)" },
  { 'dogs:upsert{ name = "Spot", age = 3 }', "Dog(id=2, name='Spot', age=3)" },
  { EACH, "Dog(id=1, name='Rex', age=6)\nDog(id=2, name='Spot', age=3)" },
  "It takes the filter's values, and can't take over a row outside.",
  { "dogs:xtra{ age = 6 }", '"dog"' },
  { 'd.name = "Rexy"\ndogs:upsert(d)', "Dog(id=1, name='Rexy', age=6)" },
  { 'dogs:upsert{ id = 2, name = "Mine now" }', raises = "NotFoundError: dog[2]" },
  { "dogs:xtra()", '"dog"' },
  { "toys:drop()" },
  { "dogs:drop{ cascade = true }" },
  { 'db:has "dog"', "false" },
}
