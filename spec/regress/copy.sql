-- COPY in and out, and what fails in every place of it; each time the next statement is an ordinary one.

create table c (a int, b text default 'd', f float8, t timestamptz, l text[], j jsonb);
copy c from stdin;
1	one	0.1	2024-01-01 00:00:00+00	{a,"b c"}	{"x": [1]}
2	\N	\N	\N	{}	null
3	tab\there	nan	infinity	{NULL}	"s"
\.
copy c (a, b) from stdin with (format csv, header true, null '-');
a,b
4,"quoted, ""so"""
5,-
6,
\.
copy c from stdin delimiter ',' null '';
7,,1e300,,,
\.
select * from c order by a;
copy (select * from c order by a) to stdout;
copy (select a, b, l from c order by a) to stdout csv header;
copy (select 1, 'a' where false) to stdout;
copy (select 1, 'é', e'\\') to stdout with (format csv, force_quote *);
copy c from stdin;
x	not a number
\.
select count(*) from c;
copy c from stdin;
8	short
\.
select count(*) from c;
copy nowhere from stdin;
select count(*) from c;
copy c (nothing) from stdin;
select 1;
copy c to stdout (format nonsense);
select 2;
create view v as select a from c;
copy v from stdin;
select 3;
copy v to stdout;
select 4;
copy (select 1 / 0) to stdout;
select 5;
copy (select 1 / (5 - a) from c order by a) to stdout;
select 6;
copy c from stdin (freeze);
select 7;
create function stop() returns trigger language plpgsql as $$ begin raise exception 'stopped %', tg_when; end $$;
create trigger early before insert on c for each statement execute function stop();
copy c from stdin;
9	never
\.
select 8;
drop trigger early on c;
create trigger each_row before insert on c for each row when (new.a > 10) execute function stop();
copy c (a) from stdin;
10
11
12
\.
select 9;
drop trigger each_row on c;
create trigger late after insert on c for each statement execute function stop();
copy c (a) from stdin;
13
\.
select count(*) from c;
drop trigger late on c;
begin;
copy c (a) from stdin;
14
\.
savepoint s;
copy c (a) from stdin;
oops
\.
select 10;
rollback to s;
select max(a) from c;
commit;
select max(a) from c;
begin read only;
copy c (a) from stdin;
rollback;
select max(a) from c;
copy c from '/no/such/file';
copy c to '/no/such/directory/file';
select 11;
alter table c add check (a < 100);
copy c (a) from stdin;
100
\.
alter table c add primary key (a);
copy c (a) from stdin;
1
\.
select count(*) from c;
