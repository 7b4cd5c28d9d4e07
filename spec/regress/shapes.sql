-- What a statement gives changes under the same text: tables altered, views replaced, plans kept,
-- columns of one name, none at all, RETURNING, rules.

create table w (a int, b text);
insert into w values (1, 'x'), (2, null);
select * from w order by a;
select w from w order by a;
select array_agg(w order by a) from w;
alter table w add c date default '2024-03-01';
select * from w order by a;
select w from w order by a;
select array_agg(w order by a) from w;
alter table w drop b;
select * from w order by a;
select w from w order by a;
select row(w) from w order by a;
alter table w alter c type text using 'on ' || c;
select w, c from w order by a;
alter table w rename c to d;
select * from w order by a;
select c from w;
drop table w;
select * from w order by a;
create table w (z numeric(5, 2));
insert into w values (1.5);
select * from w order by 1;
select w from w order by 1;

create type shape as (n int, s text);
create function shapes() returns setof shape language sql as $$ select 1, 'a'::text union all select 2, null $$;
select shapes();
select * from shapes();
alter type shape add attribute t timestamp;
select null::shape, row(1, 'x', '2024-01-01')::shape;
create view seen as select 1 as a, 'x'::text as b;
select * from seen;
create or replace view seen as select 1 as a, 'x'::text as b, 2.5 as c;
select * from seen;
select seen from seen;

select 1 as a, 2 as a, 'x' as a;
select 1, 2, 3;
select;
select from generate_series(1, 3);
select '' as "", 'q' as "a""b", 1 as "A b";
create table empty ();
insert into empty default values;
select * from empty;
select count(*) from empty;
select * from empty where false;

create table log (id serial primary key, what text not null default 'nothing', at date);
insert into log default values returning *;
insert into log (what) values ('a'), ('b') returning id, upper(what);
insert into log values (1, 'again') on conflict (id) do update set what = excluded.what || log.what returning *;
insert into log values (1, 'again') on conflict do nothing;
insert into log values (1, 'again');
insert into log (what) values (null);
update log set at = date '2024-01-01' + id where id < 3 returning at, id;
delete from log where id = 2 returning log, log.what;
delete from log where false returning *;
with gone as (delete from log where id = 3 returning *), more as (insert into log (what) select what || '!' from gone returning what) select * from more;
select * from log order by id;
merge into log using (values (1, 'merged'), (9, 'new')) v(id, what) on log.id = v.id when matched then update set what = v.what when not matched then insert values (v.id, v.what);
select * from log order by id;
truncate log restart identity;
select currval('log_id_seq'), nextval('log_id_seq');

create rule loud as on insert to seen do instead insert into log (what) values (new.b) returning id, what, id::numeric;
insert into seen values (1, 'by rule') returning *;
insert into seen values (1, 'by rule');
explain (costs off) select * from log where id = 1;
select 1 as a, 'x'::text as b into into_table from generate_series(1, 2);
select * from into_table;
show timezone;
values (1, 'a'), (2, 'b'), (3, null);
table log;
select generate_series(1, 3), generate_series(1, 2);
select a, count(*) over (order by a), lag(a) over w from generate_series(1, 4) a window w as (order by a desc) order by a;
with recursive t(n, path) as (select 1, array[1] union all select n + 1, path || n + 1 from t where n < 5) select * from t;
select coalesce(null, 'x'), case when true then 1.5 else 2 end, null, 'unknown', $$dollar $a$ quoted$$, E'a\tb\\n', U&'\0441\+01F600', n'n';
select * from unnest(array[1, 2], array['a', 'b', 'c']) with ordinality u(a, b, n);
select * from json_to_recordset('[{"a": 1, "b": "x"}, {"a": null}]') r(a int, b text);
select '{"a": 1, "b": 2}'::jsonb ? 'a', '{"a": 1}'::jsonb ?| array['b', 'c'], '{"a": 1}'::jsonb ?& array['a'], '{"a": [1, 2]}'::jsonb @? '$.a[*]';
select (array[1, 2, 3])[2:], ('{"a": {"b": 1}}'::jsonb)['a']['b'], (row(1, 'x')::shape).s;
select 1 /* a /* nested */ comment ; */ + 1; -- and a last one; with a semicolon
select 'two' 'lines';
select 'two'
  ' lines';

create function atomic(n int) returns int language sql begin atomic select n; select case when n > 0 then n + 1 end; end;
select atomic(1), atomic(-1);
create function raising() returns trigger language plpgsql as $$ begin raise exception 'no % here', tg_op using errcode = 'ZX123', hint = 'a hint'; end $$;
create trigger never before delete on log for each statement execute function raising();
delete from log;
create procedure twice(inout n int) language plpgsql as $$ begin n := n * 2; end $$;
call twice(21);
do $$ begin perform 1; end $$;
do $$ begin raise division_by_zero; end $$;
create function many(out a int, out b text) returns setof record language sql as $$ values (1, 'x'), (2, null) $$;
select * from many();
select many();
select (many()).*;
