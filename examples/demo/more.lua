-- SPDX-License-Identifier: MIT

return {
  title = "Transactions and a job queue",
  "A transaction commits when its function returns, and rolls back when it raises. It is ambient:\n" ..
    "db and its tables use it inside.",
  { 'db:execute "create table job (id serial primary key, payload text, status text default \'pending\')"', '"CREATE TABLE"' },
  { "jobs = db.t.job" },
  { "db:transaction(function()\n  jobs:insert{ payload = \"lost\" }\n  error \"no\"\nend)", raises = "no" },
  { "#jobs", "0" },
  { "db:transaction(function()\n  jobs:insert{ payload = \"mail\" }\n" ..
      "  pcall(db.transaction, db, function() jobs:insert{ payload = \"undone\" } error \"only the savepoint\" end)\n" ..
      "  return jobs:insert{ payload = \"report\" }.payload\nend)", '"report"' },
  { "for row in jobs:each{ order_by = \"id\" } do print(row.payload, row.status) end", "mail\tpending\nreport\tpending" },
  "Many rows in one go: pipelined, all or nothing. Their keys may differ.",
  { '#jobs:inserts{ { payload = "fax" }, { payload = "sms", status = "held" } }', "2" },
  { 'jobs:groupby("status", "count(*)")', "{ held = 1, pending = 3 }" },
  "claim_one takes the next job so that no other process gets it, and marks it by the outcome.",
  { "p = jobs:claim_one({ order_by = \"id\" }, function(p) print(\"sending \" .. p.row.payload) end)\np.failed",
    "sending mail\nfalse" },
  { "p = jobs:claim_one({ order_by = \"id\" }, function(p) error \"printer on fire\" end)\np.failed, tostring(p.error)",
    like = 'true  ".*printer on fire"' },
  { "for row in jobs:each{ order_by = \"id\" } do print(row.payload, row.status) end",
    "mail\tcompleted\nreport\tfailed\nfax\tpending\nsms\theld" },
  { "jobs:drop()" },
  { "db:close()" },
}
