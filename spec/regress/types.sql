-- Values of every type as the server prints them: alone, in arrays, beside a column that makes all of
-- them text, inside composites and records.

select true, false, null::bool, 't'::"char", ''::"char", 'name of sixty-three'::name, 'abc  '::char(6), 'v'::varchar(3), 'ünï'::text;
select 0::int2, (-32768)::int2, 32767::int2, (-2147483648)::int4, 2147483647::int4, (-9223372036854775808)::int8, 9223372036854775807::int8;
select 0::oid, 4294967295::oid, '1.5'::float4, '1.5'::float8, 'nan'::float4, '-infinity'::float8, '-0'::float8, 1e-45::float4, 4.9e-324::float8;
select (2::float8 ^ n)::float4 from generate_series(-149, 127, 3) n;
select 2::float8 ^ n, 10::float8 ^ n, -1 / 3::float8 * 10::float8 ^ n from generate_series(-300, 300, 23) n;
select 7.038531e-26::float4, 1.17549435e-38::float4, 3.4028235e38::float4, 0.1::float4::float8, 9007199254740993::float8, 1e15::float8, 1e16::float8, 123456.7::float4, 1234567.9::float4;
select '0'::numeric, '-0.000'::numeric, '1e100'::numeric, '1e-100'::numeric, 'nan'::numeric, 'infinity'::numeric, '123456789012345678901234567890.1234567890'::numeric, 12.3400::numeric(10, 4), 1::numeric(1000, 900);
select n::numeric / 7, (n * 10000 + 1)::numeric, n::numeric * 1e20 from generate_series(-3, 3) n;
select '\x00ff5c27'::bytea, ''::bytea, 'a\\b\047'::bytea, b'', b'1011', x'0f'::bit(8), b'101'::varbit(9);
select date '2024-02-29', date '0001-01-01', date '4714-11-24 BC', date '5874897-12-31', date 'infinity', date '-infinity';
select time '00:00', time '24:00', time '12:34:56.789012', timetz '23:59:59.999999-15:59', timetz '01:02:03+05:30:07';
select timestamp '2024-02-29 12:34:56.7', timestamp '0044-03-15 BC', timestamp 'infinity', timestamp '294276-12-31 23:59:59.999999', timestamp '4714-11-24 BC';
select timestamptz '2024-07-01 12:00 Europe/Berlin', timestamptz '2024-03-10 10:30 UTC', timestamptz '1883-11-18 12:00 UTC', timestamptz '-infinity', timestamptz '0002-01-01 BC';
select interval '0', interval '1 mon -2 days 03:04:05.678', interval '-1 year', interval '-00:00:00.000001', interval '178000000 years', interval '1 day -24:00', interval '25 months 400 days 1000:00';
select interval '-2147483648 months -2147483648 days -9223372036854775808 us';
select interval '2147483647 months 2147483647 days 9223372036854775807 us';
select interval '1 year 2 months', interval '1 year 2 months' = interval '14 months', -interval '1 month 1 day', interval '3 days' * 1.5, justify_interval(interval '35 days 30 hours');
select uuid '00112233-4455-6677-8899-aabbccddeeff', inet '10.0.0.1', inet '10.0.0.1/8', inet '::1', cidr '10.0.0.0/8', cidr 'fe80::/10', macaddr '08:00:2b:01:02:03', macaddr8 '08:00:2b:01:02:03:04:05';
select point '(1,2)', point '(-0,1e300)', lseg '[(0,0),(1,1)]', line '{1,-1,0}', box '(2,2),(0,0)', path '[(0,0),(1,1)]', path '((0,0),(1,1),(2,0))', polygon '((0,0),(1,1),(2,0))', circle '<(1,2),3>';
select '1'::money, '-1234567.89'::money, 'pg_class'::regclass, 'int4'::regtype, 'now'::regproc, '+(int4,int4)'::regoperator, 'public'::regnamespace;
select '0/16B3748'::pg_lsn, '(1,2)'::tid, '1:5:2,3'::pg_snapshot, '7'::xid, '8'::xid8, '9'::cid, '1 2 3'::int2vector, '4 5'::oidvector;
select 'a fat:1A,2 cat:3B'::tsvector, 'fat & (cat | !dog:*A) <2> rat'::tsquery, $$'it''s':1 'a\\b'$$::tsvector, '$.a[*] ? (@.b > 1)'::jsonpath, '<a b="c">d</a>'::xml;
select '1'::jsonb, '1e100'::jsonb, '1.50'::jsonb, '-0'::jsonb, '1e-7'::jsonb, '123456789012345678901234567890'::jsonb, 'null'::jsonb, '""'::jsonb, '[]'::jsonb, '{}'::jsonb;
select '{"b": [1, {"c": null}], "aa": "\u00e9\ud83d\ude00\n", "a": true}'::jsonb, '"a\"\\b"'::jsonb, '[[[]]]'::jsonb, '{"": {"": []}}'::jsonb;
select '{"b":[1,{"c":null}],  "a" : "x"}'::json, '[1 , 2]'::json, ' "s"'::json, '[1e100, 1E2, 0.10]'::json;
select int4range(1, 5), int4range(1, 5, '[]'), 'empty'::int8range, numrange(null, 1.50), numrange(1.5, 1.5, '[]'), daterange('2024-01-01', null), tsrange('2024-01-01', '2024-01-02', '(]'), tstzrange(null, null), int4multirange(int4range(1, 3), int4range(7, 9)), '{}'::nummultirange;

-- In arrays.
select array[]::int[], array[1, null, 3], array[[1, 2], [3, 4]], '[0:1]={5,6}'::int[], '[-1:0][2:3]={{1,2},{3,4}}'::int[], array[null]::text[], '{}'::jsonb[];
select array['', 'null', 'a,b', '"', '\', 'x y', '{}', null, 'ü'], array[['a', null], ['b', 'c']], array['a'::"char", ''], array['ab '::char(4)], array['n'::name];
select array[1.10, 'nan', null]::numeric[], array[0.1, 'infinity']::float8[], array[1e-45]::float4[], array[true, null, false], array['\x00ff'::bytea, ''], array[b'101'];
select array['{"a": [1]}', 'null', null, '[1]']::jsonb[], array['{"a": [1]}']::json[], array[interval '1 day', '-1 mon'], array[date '2024-01-01', 'infinity'], array[timestamptz '2024-01-01 00:00 UTC'];
select array[point '(1,2)', '(3,4)'], array[box '(1,1),(0,0)', '(3,3),(2,2)'], array[polygon '((0,0),(1,1))'], array[int4range(1, 3), 'empty'], array[int4multirange(int4range(1, 3)), '{}'];
select array[uuid '00112233-4455-6677-8899-aabbccddeeff'], array[inet '::1'], array['1'::money], array['pg_class'::regclass], array['a:1'::tsvector], array['(1,2)'::tid];

-- All of it as text: one money column is enough.
select '1'::money, true, 't'::"char", (-5)::int2, 5, 9223372036854775807::int8, 0.1::float4, 0.1::float8, 1e15::float8, 'nan'::float8, 12.50::numeric, 'é', '\x00ff'::bytea, b'101';
select '1'::money, date '2024-02-29', date '0044-03-15 BC', time '01:02:03.4', timetz '01:02:03-08', timestamp '2024-02-29 12:34:56.7', timestamptz '2024-07-01 12:00 UTC', interval '1 mon -2 days 03:04:05.678', interval '0';
select '1'::money, array[1, null], array[['a', 'b,c']], '[0:1]={5,6}'::int[], '{"a": [1, null]}'::jsonb, '[1]'::json, int4range(1, 5), numrange(null, 1.50), daterange('2024-01-01', null), '{[1,3),[7,9)}'::int4multirange;
select '1'::money, point '(1,2)', circle '<(1,2),3>', uuid '00112233-4455-6677-8899-aabbccddeeff', inet '10.0.0.1/8', macaddr '08:00:2b:01:02:03', row(1, 'a b'), array[interval '1 day'], array[date 'infinity'], array[0.1::float8];

-- Types of our own.
create type mood as enum ('sad', 'so so', 'happy "quoted"');
create domain positive as int check (value > 0);
create domain positives as positive[];
create domain document as jsonb;
create type pair as (a int, b text);
create type nest as (p pair, ps pair[], m mood, d positive, j jsonb, t timestamptz);
create type textrange as range (subtype = text);
create type floatrange as range (subtype = float8, subtype_diff = float8mi);
select 'so so'::mood, array['sad', 'happy "quoted"']::mood[], 5::positive, '{1,2}'::positives, '{"a": 1}'::document, array['{"a": 1}'::document];
select row(1, 'a "b", (c)')::pair, row(null, null)::pair, row(null, '')::pair, null::pair, array[row(1, 'x')::pair, null, row(2, null)::pair];
select row(row(1, 'x'), array[row(2, 'y,z')::pair], 'sad', 7, '{"a": "b"}', '2024-01-01 00:00 UTC')::nest;
select textrange('a', 'b c'), textrange('"', '\'), textrange('', null), floatrange(0.1, 'infinity'), array[textrange('a', 'b')], '{[a,b],[x,y)}'::textmultirange, row(textrange(',', '('))::text;
select row(1, 2.50, 'x', null, true, '\x01'::bytea, date '2024-01-01', interval '1 day', '{"a": "b c"}'::jsonb, '"s"'::jsonb, array[1, 2], row(3, 'y'));
select row(0.1::float4, 1e15::float8, 'nan'::numeric, timestamptz '2024-01-01 00:00 UTC', uuid '00112233-4455-6677-8899-aabbccddeeff', inet '::1', point '(1,2)', b'1', 'c'::"char");
select array[row(1, 'a'), row(2, '"b"')], row(array[row(1, array['x', null])]), row('sad'::mood, row(1, 'p')::pair, 5::positive, int4range(1, 2), hash) from (select '{"f2": {"f3": 1}}'::jsonb as hash) h;
select row('{"a": 1}'::json, '[1, 2]'::json), row('fat:1'::tsvector, 'a & b'::tsquery), row('<a/>'::xml, '$.a'::jsonpath), row(time '01:02', timetz '01:02+03', timestamp '2024-01-01'), row();
create type costs as (m money, f float4, t timestamptz, i interval, c regclass);
create type colours as range (subtype = mood);
select row('1.50'::money, 'pg_class'::regclass, array['int4'::regtype, null], null::money), array[row(1, '2'::money), row(2, '3'::money)], row(row(row('4'::money)));
select row(i, row(i::text::money, 0.1, '2024-01-01 00:00 UTC', '1 day -2 hours', 'pg_type')::costs, colours('sad', 'happy')) from generate_series(1, 3) i order by i;
select x from (values (row('100'::money)), (row('200'::money))) t(x) union all select row('300'::money);
set extra_float_digits = 0;
select row(1, row('2', 0.1, null, null, null)::costs);
reset extra_float_digits;

-- Wrong values.
select 'x'::int;
select '1.5'::int;
select 32768::int2;
select '2024-02-30'::date;
select '{1,2'::int[];
select '{"a":}'::jsonb;
select '(1)'::pair;
select 'glad'::mood;
select (-1)::positive;
select '[5,1)'::int4range;
select 1 / 0;
select 1e308::float8 * 10;
select interval '1 fortnight';
